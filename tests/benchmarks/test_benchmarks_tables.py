"""Tables of the benchmark: figures, verdicts and counts come from the results and from nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import bench, ideas, tables
from scdiff_core.analysis import verdict
from scdiff_core.errors import ScdiffError


def result(method, seed, figures, kind="preset", **more):
    rows = [replace(verdict.METRICS[k], value=v, floor=f, baselines={"gene-wise shuffle": 0.9}).to_dict()
            for k, (v, f) in figures.items()]
    return {"dataset": "pbmc3k_counts", "kind": kind, "method": method, "title": method, "seed": seed,
            "train_s": 100.0 + seed, "generate_s": 1.0, "epochs": None, "note": "a note",
            "report": {"rows": rows, "n_cells": 800, "extra": more}}


@pytest.fixture
def results():
    return [result("standard", 0, {"rf_genes": (0.58, 0.5), "mmd": (0.003, 0.002)}, cfgen_w2=10.0, cfgen_w2_floor=9.0),
            result("standard", 1, {"rf_genes": (0.60, 0.52), "mmd": (0.005, 0.002)}, cfgen_w2=11.0, cfgen_w2_floor=9.5),
            result("scvi", 0, {"rf_genes": (0.93, 0.4)}, kind="peer")]


def cells(table, title):
    line = next(line for line in table.splitlines() if line.startswith(f"| {title} "))
    return [c.strip() for c in line.strip("|").split("|")]


def test_quality_shows_means_floors_of_our_own_and_what_holds(results):
    table = tables.quality(results)
    assert cells(table, "figure") == ["figure", "standard", "scvi", "floor", "gene-wise shuffle", "Gaussian per type",
                                      "must", "standard: must", "aim", "standard: aim"]
    assert cells(table, "Told apart by genes")[1:] == ["0.590 ± 0.014", "0.930", "0.510", "0.900", "", "≤ 0.6", "holds",
                                                       "≤ 0.55", "0.040 away"]
    mmd = cells(table, "MMD")  # the ratio of the means, 0.004 / 0.002
    assert mmd[2] == "–" and mmd[7] == "does not hold (2.00 × floor, 0.75 away)" and mmd[9] == "2.00 × floor, 0.90 away"
    assert cells(table, "training, CPU s")[1:3] == ["100.5", "100.0"]


def test_musts_are_counted_among_those_measured(results):
    assert tables.count({"pbmc3k_counts": results}) == {"pbmc3k_counts": (1, 2)}


def test_summary_marks_what_does_not_hold(results):
    table = tables.summary({"pbmc3k_counts": results, "kang_ifnb_counts": results[:1]})
    assert cells(table, "MMD")[2:4] == ["0.00400 (0.00200) ✗", "0.00300 (0.00200) ✗"]
    assert cells(table, "Told apart by genes")[2:5] == ["0.590 (0.510)", "0.580 (0.500)", "0.930"]


def test_published_figures_stand_beside_our_own_floor(results):
    table = tables.cfgen(results, "pbmc3k_counts")
    assert cells(table, "standard")[1:] == ["10.50", ""]
    assert cells(table, "real training cells (floor)")[1] == "9.25"
    assert cells(table, "CFGen")[2] == "11.17"
    assert "CFGen" not in tables.cfgen(results, "another")


def test_ideas_have_a_row_each(results):
    table = tables.ideas(results[:2], ("rf_genes", "mmd"))
    assert cells(table, "standard") == ["standard", "0.590 ± 0.014", "0.00400 ± 0.00141", "100", "2"]
    assert cells(table, "floor")[1] == "0.510"


def test_settings_of_an_idea_are_parted_by_what_they_set():
    assert ideas.parts(("codec.thin=1", "generate.guidance_scale=1.5", "diffusion.steps=10")) == (
        ("codec.thin=1", "diffusion.steps=10"), {"guidance_scale": 1.5})
    for wrong in ("thin=1", "codec.thin", "sampler.steps=3"):
        with pytest.raises(ScdiffError):
            ideas.parts((wrong,))


def test_only_what_stands_between_the_markers_is_replaced():
    page = f"before\n{bench.START}\nold\n{bench.END}\nafter\n"
    assert bench.put(page, "new") == f"before\n{bench.START}\nnew\n{bench.END}\nafter\n"
    assert bench.put(bench.put(page, "new"), "new") == bench.put(page, "new")
    for wrong in ("no markers", f"{bench.END} {bench.START}", page + page):
        assert bench.put(wrong, "new") is None
