"""The table of known perturbations found again: figures and verdicts follow from the ranks."""

from __future__ import annotations

from typing import Any

from benchmarks import recovery as bench
from scdiff_core.analysis.design.closeness import COSINE, ENERGY, RULES


def rows(part: str, ours: list[float], cosine: list[float], n: int = 21, name: str = bench.MEASURED
         ) -> list[dict[str, Any]]:
    return [{"part": part, "seed": 0, "fold": "f", "kind": "k", "condition": str(i), "dose": None, "cell_type": "",
             "chosen": ENERGY, "list": name, "rule": rule, "rank": rank, "n": n, "refused": False}
            for rule, ranks in ((bench.OURS, ours), (COSINE, cosine)) for i, rank in enumerate(ranks)]


def test_the_table_has_area_recall_and_chance() -> None:
    lines = bench.table(rows("norman", [1, 11], [21, 4])).splitlines()
    assert len(lines) == 5
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert cells[2][0] == bench.OURS and cells[2][1].startswith("0.750") and cells[2][2:] == ["0.500", "0.500", "0.500",
                                                                                            "2"]
    assert cells[3][1].startswith("0.425") and cells[3][2:5] == ["0.000", "0.500", "0.500"]
    assert cells[4][2:5] == ["0.048", "0.238", "0.476"]


def test_verdicts() -> None:
    found = rows("norman", [1, 2, 20, 20], [1, 20, 20, 20]) + rows("demo", [1, 3], [1, 1]) \
        + rows("norman", [20], [20], name=bench.ALL)
    demo, measured, every = bench.verdicts(found)
    assert "area 0.950" in demo and demo.endswith("holds.")
    assert "recall at 10 0.500, plain signature 0.250" in measured and measured.endswith("holds.")
    assert every.endswith("fails.")  # twice nothing is nothing
    assert bench.verdicts([]) == []


def test_what_was_refused_is_named_and_counted_beside_the_table() -> None:
    found = rows("demo", [1, 21], [1, 21])
    found = [{**r, "refused": r["condition"] == "1"} for r in found]
    must, refused = bench.verdicts(found)
    assert "area 1.000" in must and must.endswith("holds.")
    assert "1 (1 of 2 goals)" in refused and refused.endswith("would be 0.500.")
    assert "| 1 |" in bench.table(bench.candidates(found)).splitlines()[2]


def test_the_page_names_every_part_and_what_was_chosen() -> None:
    about = {"seeds": [0], "preset": "quick", "ours": False}
    words = bench.text({"about": about, "rows": rows("demo", [1, 3], [2, 1])})
    assert "## demo: among the measured ones (21 candidates; seeds 0)" in words and "the predicted mean alone" in words
    assert f"Chosen in training: {bench.TITLES[ENERGY]} for 2 goals." in words
    assert set(bench.TITLES) == {bench.OURS, *RULES}
