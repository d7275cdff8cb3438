"""The figures of designed cells: realism, diversity, distances, what is proposed and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from scdiff_core.analysis.design import figures_of, pictures, propose
from scdiff_core.analysis.design import report as reports
from scdiff_core.analysis.design.figures_of import Ground
from scdiff_core.errors import ScdiffError
from scdiff_core.target import from_list, parse


@pytest.fixture(scope="module")
def ground():
    rng = np.random.default_rng(0)
    return Ground.of(rng.normal(size=(3000, 5)), np.arange(3000) + 7, rng.normal(size=(1000, 5)))


def test_one_real_cell_in_twenty_looks_unreal_and_far_ones_all_do(ground):
    rng = np.random.default_rng(1)
    hard, met = np.array([True]), np.ones((600, 1), bool)
    cells = rng.normal(size=(600, 5))
    alike, knn, nearest = figures_of.figures_of("a", cells, cells, met, hard, ground, rng.normal(size=(500, 5)))
    assert 0.02 < alike.unreal < 0.09 and knn.shape == (600,) and nearest.shape == (600, 10)
    assert alike.diversity == pytest.approx(1, abs=0.05) and abs(alike.energy) < 0.05
    assert 0.3 < alike.auc < 0.65
    far, *_ = figures_of.figures_of("b", cells + 5, cells, met, hard, ground, None)
    assert far.unreal > 0.95 and far.auc > 0.95 and far.energy is None and "no real cell" in far.note


def test_cells_that_look_unreal_are_exchanged_for_the_nearest_that_do_not(ground):
    rng = np.random.default_rng(2)
    side = np.eye(5)[0]
    points = rng.normal(size=(140, 5)) * 0.2 + np.repeat([1.2, -1.2, 7.0, -7.0], [80, 20, 30, 10])[:, None] * side
    chosen, spare = np.r_[0:40, 80:90, 100:140], np.r_[40:80, 90:100]  # from 100 on they lie far from real cells
    found = ground.exchange(points, chosen, spare)
    gone = found != chosen
    assert (chosen[gone] >= 100).all() and np.isin(found[gone], spare).all() and len(np.unique(found)) == len(chosen)
    assert (ground.look(points[found])[0] > ground.limit).sum() == int(0.05 * len(chosen))
    assert (np.sign(points[found, 0]) == np.sign(points[chosen, 0])).all()  # both kinds keep their share


def test_nothing_is_exchanged_where_it_need_not_or_cannot_be(ground):
    points = np.vstack([np.zeros((60, 5)), np.full((40, 5), 9.0)])
    few = np.r_[0:57, 97:100]
    assert (ground.exchange(points, few, np.r_[57:60]) == few).all()  # no more than of held-out cells
    assert (ground.exchange(points, np.r_[60:80], np.r_[80:100]) == np.r_[60:80]).all()  # nothing better
    found = ground.exchange(points, np.r_[60:80], np.r_[0:5, 80:100])
    assert np.isin(found, np.r_[0:5]).sum() == 5 and len(np.unique(found)) == 20  # as far as it goes


def test_training_cells_are_not_their_own_neighbours(ground):
    own = np.arange(500)
    cells = ground.train[own]
    found, *_ = figures_of.figures_of("r", cells, cells, np.ones((500, 1), bool), np.array([True]), ground, None,
                                      itself=own)
    assert 0.02 < found.unreal < 0.09 and (found.auc is None or found.auc > 0.3)


def test_the_energy_distance_is_unbiased_and_that_of_two_normals():
    rng = np.random.default_rng(2)
    small = [figures_of.energy_distance(rng.normal(size=(20, 3)), rng.normal(size=(20, 3))) for _ in range(300)]
    assert abs(np.mean(small)) < 0.02
    # in one dimension, 2 E|X-Y| - 2 E|X-X'| with X - Y ~ N(1, 2): 2 (2 phi(m) s + m (2 Phi(m) - 1)) - 4 / sqrt(pi)
    from scipy.stats import norm

    s = np.sqrt(2)
    mean = s * np.sqrt(2 / np.pi) * np.exp(-1 / 4) + (1 - 2 * norm.cdf(-1 / s))
    found = figures_of.energy_distance(rng.normal(size=(4000, 1)), 1 + rng.normal(size=(4000, 1)))
    assert found == pytest.approx(2 * mean - 4 / np.sqrt(np.pi), abs=0.04)


def test_a_report_comes_back_from_json_and_makes_tables():
    rows = ({"name": "A", "words": "A high", "hard": True, "designed": 1.0, "real": 0.1},)
    figure = reports.Figures("designed", 5, 1.0, (1.0,), 0.006, 0.6, 0.95, 0.01, unreal_codes=0.01)
    report = reports.DesignReport("w", 5, 5, 4, 1.0, rows, {"share": 0.0024, "n": 3, "rows": [1]}, (figure,), 2.0,
                                  neighbours={"columns": {"donor": {"d1": 0.75, "d2": 0.25}}})
    assert reports.DesignReport.from_dict({**report.to_dict(), "newer": 1}) == report
    assert reports.figures_table(report).splitlines() == [
        "cells,n,meet all,A high,look unreal,look unreal in codes,auc,diversity,e_distance,note",
        "designed,5,1,1,0.006,0.01,0.6,0.95,0.01,"]
    assert "donor,d1,0.75" in reports.neighbours_table(report)
    assert reports.sentence(512, 512, 0.006, {"share": 0.0024, "n": 3, "rows": [1]}) == \
        "512 of 512 meet the target; 0.6 % look unreal; 0.24 % of your cells already do this."
    assert "beyond the data" in reports.sentence(5, 5, 0, {"share": 0.0, "n": 0, "rows": [1]})


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(3)
    chosen = rng.random(1000) < 0.2
    x = rng.gamma(1.0, 1.0, (1000, 30)) * (rng.random((1000, 30)) < 0.5)
    x[chosen, 3] += 3
    x[:, 4] = x[:, 3] + 0.01 * rng.random(1000)  # the same gene twice
    x[chosen, 5] = 0
    x[~chosen, 5] += 1
    return x, chosen


def test_rows_are_proposed_that_tell_cells_apart(cells):
    x, chosen = cells
    names = [f"G{i}" for i in range(30)]
    auc, change = propose.compare_sides(sp.csr_matrix(x), chosen)
    rows = propose.propose(names, auc, change, chosen, lambda genes: {g: x[:, int(g[1:])] for g in genes}, 4)
    found = {r["gene"]: r for r in rows}
    assert ("G3" in found) != ("G4" in found) and found["G5"]["direction"] == "down"
    best = found.get("G3") or found["G4"]
    assert best["direction"] == "up" and best["share_in"] >= 0.89 and best["share_out"] < 0.2
    with pytest.raises(ScdiffError, match="Only 2 cells are chosen"):
        propose.compare_sides(sp.csr_matrix(x), np.arange(1000) < 2)


def test_histograms_and_joint_counts_hold_every_cell(cells):
    x, chosen = cells
    target = parse({"genes": [{"gene": "G3", "level": 2.0}, {"gene": "G5", "direction": "down", "level": 9.0}]})
    levels = {"G3": x[:, 3], "G5": x[:, 5]}
    one, two = pictures.histograms(target, levels, chosen)
    assert sum(one["counts"]) == 1000 and sum(one["fitting"]) == chosen.sum() and two["edges"][-1] >= 9
    both = pictures.joint(target, levels, chosen, 0, 1)
    assert np.sum(both["counts"]) == chosen.sum() and np.shape(both["counts"]) == (32, 32)


def test_a_pasted_list_becomes_rows():
    rows, unknown = from_list("CST3 up 2\ns100a8 down; HLA-DRA\nCD8A-, NKX2-1\nNOPE, cst3", [
        "CST3", "S100A8", "HLA-DRA", "CD8A", "NKX2-1"])
    assert [(r.gene, r.direction, r.level) for r in rows] == [
        ("CST3", "up", 2.0), ("S100A8", "down", None), ("HLA-DRA", "up", None), ("CD8A", "down", None),
        ("NKX2-1", "up", None)]
    assert unknown == ("NOPE",)
