"""Programs of designed cells: levels by hand, activity as decoupler has it, those of the target first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scdiff_core.analysis.design import programs_of

GENES = [f"G{i}" for i in range(40)]


@pytest.fixture(scope="module")
def sides() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 2, 40)
    after = before + rng.normal(0, 0.1, 40)
    after[:8] += 1.0
    return after, before


def test_levels_and_order(sides: tuple[np.ndarray, np.ndarray]) -> None:
    found = programs_of.compare(*sides, GENES, {"mine": ("G30", "G31", "NOT_THERE")}, {
        "moved": GENES[:8], "still": GENES[10:20], "small": GENES[:2], "strangers": ("X", "Y")})
    assert [row["program"] for row in found] == ["mine", "moved", "still"]  # two genes tell nothing, unless asked for
    assert found[0]["asked"] and found[0]["n_genes"] == 2 and found[0]["activity"] is None
    assert found[0]["designed"] == pytest.approx(sides[0][30:32].mean())
    assert found[1]["designed"] - found[1]["reference"] == pytest.approx(1.0, abs=0.15)
    assert found[1]["pval_adj"] < 1e-3 < found[2]["pval_adj"]


def test_activity_is_that_of_decoupler(sides: tuple[np.ndarray, np.ndarray]) -> None:
    decoupler = pytest.importorskip("decoupler")
    sets = {"moved": GENES[:8], "still": GENES[10:20]}
    net = pd.DataFrame([(n, g, 1.0) for n, genes in sets.items() for g in genes],
                       columns=["source", "target", "weight"])
    t, _ = decoupler.mt.ulm(pd.DataFrame([sides[0] - sides[1]], ["x"], GENES), net, tmin=5)
    found = {row["program"]: row["activity"] for row in programs_of.compare(*sides, GENES, {}, sets)}
    assert found == pytest.approx(t.iloc[0].to_dict(), rel=1e-4)


def test_gene_sets_of_a_folder_without_those_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.gmt").write_text("ONE\tx\tG1\tG2\n")
    (tmp_path / "b.gmt").write_text("no gene sets")
    assert programs_of.of_folder(tmp_path) == {"ONE": ("G1", "G2")}
    assert programs_of.of_folder(tmp_path / "missing") == {}
