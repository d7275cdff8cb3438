"""Target files: read, refused in plain words, and held against real cells."""

from __future__ import annotations

import numpy as np
import pytest

from scdiff_core import target as targets
from scdiff_core.analysis.design import feasibility
from scdiff_core.errors import ScdiffError
from scdiff_core.target import Target, check, parse

GENES = ("HLA-DRA", "CST3", "S100A8", "CD3D")


def of(*rows, **more):
    return parse({"genes": list(rows), **more})


def test_a_file_is_read_and_written_as_it_was(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("""
genes:
  - {gene: HLA-DRA, direction: up, level: 2.0, weight: 1, hard: true}
  - {gene: S100A8, direction: down}
programs:
  - {name: IFN, direction: up}
cell_type: CD14+ Mono
away_from: {cell_type: [B]}
""")
    read = targets.read(path, {"IFN": ("CST3", "ISG15")})
    assert [r.name for r in read.rows] == ["HLA-DRA", "S100A8", "IFN"] and read.needed() == (
        "HLA-DRA", "S100A8", "CST3", "ISG15")
    path.write_text(targets.write(read))
    assert targets.read(path) == read
    assert check(read, GENES).programs[0].members == ("CST3",)


@pytest.mark.parametrize(("rows", "more", "said"), [
    ((), {}, "nothing to design"),
    (({"gene": "HLADRA"},), {}, "Did you mean 'HLA-DRA'"),
    (({"gene": "CST3", "level": 2}, {"gene": "CST3", "direction": "down", "level": 1}), {}, "contradict each other"),
    (({"gene": "CST3"}, {"gene": "CST3", "direction": "down"}), {}, "up and down at once"),
    (({"gene": "CST3"}, {"gene": "CST3"}), {}, "stands twice"),
    (({"gene": "CST3"},), {"cell_type": "B", "away_from": {"cell_type": ["B"]}}, "contradicts itself"),
    (({"gene": "CST3"},), {"programs": [{"program": "p", "members": ["X"]}]}, "None of its 1 genes"),
])
def test_what_cannot_be_asked_is_refused(rows, more, said):
    with pytest.raises(ScdiffError, match=said):
        check(of(*rows, **more), GENES)


@pytest.mark.parametrize(("values", "said"), [
    (None, "empty"), ({"gnes": []}, "Did you mean 'genes'"), ({"programs": [{"name": "IFN"}]}, "is not known"),
    ({"genes": [{"gene": "CST3", "direction": "between", "level": 2}]}, "higher upper level"),
    ({"genes": [{"gene": "CST3", "level": -1}]}, "greater than or equal"),
])
def test_a_file_that_cannot_be_read_is_told(values, said):
    with pytest.raises(ScdiffError, match=said):
        parse(values)


def test_a_missing_file_and_one_that_is_no_yaml(tmp_path):
    with pytest.raises(ScdiffError, match="cannot be read"):
        targets.read(tmp_path / "no.yaml")
    (tmp_path / "bad.yaml").write_text("genes: [")
    with pytest.raises(ScdiffError, match="not valid yaml"):
        targets.read(tmp_path / "bad.yaml")


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    x = rng.random(10_000)
    return {"A": x, "B": 1 - x, "C": rng.random(10_000)}, np.where(x > 0.5, "one", "two")


def test_levels_are_those_of_the_top_tenth_of_the_type(cells):
    levels, types = cells
    asked = feasibility.fill(of({"gene": "A"}, {"gene": "C", "direction": "down"}), levels)
    assert asked.genes[0].level == pytest.approx(0.9, abs=0.01) and asked.genes[1].level == pytest.approx(0.1, abs=0.01)
    two = types == "two"
    top = feasibility.fill(of({"gene": "A", "top": 0.1}), levels, two).genes[0]
    assert top.level == pytest.approx(0.45, abs=0.01) and top.top is None
    # of a type whose top tenth is low among all cells, "high" is the middle of what cells have
    assert feasibility.fill(of({"gene": "A"}), levels, two).genes[0].level == pytest.approx(0.5, abs=0.01)
    assert feasibility.fill(of({"gene": "B", "direction": "down"}), levels, two).genes[0].level == pytest.approx(
        0.5, abs=0.01)
    with pytest.raises(ScdiffError, match="The highest real cell has 1"):
        feasibility.fill(of({"gene": "A", "level": 3}), levels)


def test_shares_conflicts_and_the_word(cells):
    levels, types = cells
    found = feasibility.assess(of({"gene": "A", "level": 0.6}, {"gene": "C", "level": 0.5}), levels, types)
    assert found.rows[0]["share"] == pytest.approx(0.4, abs=0.02) and found.share == pytest.approx(0.2, abs=0.02)
    assert found.word == "common" and not found.conflicts
    apart = feasibility.assess(of({"gene": "A", "level": 0.6}, {"gene": "B", "level": 0.6}), levels, types)
    assert apart.word == "beyond the data" and "0 % of real cells have both" in apart.conflicts[0]
    rare = feasibility.assess(of({"gene": "A", "level": 0.997}, {"gene": "C", "level": 0.2}), levels, types)
    assert rare.word == "rare" and 0 < rare.n < 50
    typed = feasibility.assess(of({"gene": "A", "level": 0.1}, cell_type="two"), levels, types)
    assert typed.share == pytest.approx(0.4, abs=0.02)
    kept = feasibility.assess(of({"gene": "A", "level": 0.1}, away_from={"cell_type": ["one"]}), levels, types)
    assert kept.share == typed.share
    soft = feasibility.assess(Target.model_validate({"genes": [{"gene": "A", "level": 0.999, "hard": False}]}), levels)
    assert soft.share == 1.0
