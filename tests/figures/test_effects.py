"""The figures of perturbations: which genes are drawn, where, and what their files say."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from scdiff_core.errors import ScdiffError
from scdiff_core.figures import effect_maps, effects
from scdiff_core.figures.base import STAMP


def table(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    change, half = rng.normal(0, 1, n), rng.uniform(0.1, 0.8, n)
    return pd.DataFrame({"gene": [f"G{i}" for i in range(n)], "log2fc": change, "low": change - half,
                         "high": change + half, "measured_log2fc": change + rng.normal(0, 0.2, n)})


def words(svg: bytes) -> str:
    return " ".join(t for e in ET.fromstring(svg).iter() if e.tag.endswith("text") for t in e.itertext())


def test_the_surest_genes_are_those_whose_interval_ends_farthest_from_zero() -> None:
    genes = pd.DataFrame({"gene": ["wide", "narrow", "none", "down", "less"], "log2fc": [3.0, 1.0, 0.1, -2.0, -0.5],
                          "low": [-1.0, 0.8, -0.5, -2.5, -0.9], "high": [7.0, 1.2, 0.7, -1.5, -0.1]})
    assert effects.ranked_genes(genes, 1)["gene"].tolist() == ["narrow", "down"]
    assert effects.ranked_genes(genes, 5)["gene"].tolist() == ["wide", "narrow", "none", "less", "down"]
    assert effects.ranked_genes(genes, genes=["less", "wide"])["gene"].tolist() == ["wide", "less"]


def test_intervals_and_measured_changes_are_drawn_where_they_are() -> None:
    genes = table()
    figure = effects.ranked(genes, most=10)
    chosen = effects.ranked_genes(genes, 10)
    assert len(chosen) == 20 and figure.layout.yaxis.ticktext[0] == f"<i>{chosen['gene'].iloc[0]}</i>"
    up = figure.data[0]
    np.testing.assert_allclose(np.array(up.x) + up.error_x.array, chosen["high"][chosen["log2fc"] > 0])
    np.testing.assert_allclose(np.array(up.x) - up.error_x.arrayminus, chosen["low"][chosen["log2fc"] > 0])
    assert [t.name for t in figure.data].count(effects.MEASURED) == 1
    assert STAMP in figure.layout.xaxis.title.text
    without = effects.ranked(genes.drop(columns="measured_log2fc"), most=10)
    assert effects.MEASURED not in [t.name for t in without.data]
    far = genes.assign(measured_log2fc=-30.0)  # a gene that no measured cell has does not press all others together
    assert effects.ranked(far, most=10).layout.xaxis.range[0] > -10


def test_where_an_experiment_would_fall_is_a_band_behind_and_judges_what_is_outside() -> None:
    genes = table()
    wide = genes.assign(expected_low=genes["low"] - 1, expected_high=genes["high"] + 1)
    figure = effects.ranked(wide, most=10)
    chosen = effects.ranked_genes(wide, 10)
    band = figure.data[0]
    assert band.name == effects.EXPERIMENT and [t.name for t in figure.data if t.showlegend is not False].count(
        effects.EXPERIMENT) == 1
    ends = figure.layout.xaxis.range
    np.testing.assert_allclose(np.array(band.x) - band.error_x.array, np.maximum(chosen["expected_low"], ends[0]),
                               atol=0.3)
    assert effects.EXPERIMENT not in [t.name for t in effects.ranked(genes).data]
    never = genes.assign(expected_low=np.nan, expected_high=np.nan)
    assert effects.EXPERIMENT not in [t.name for t in effects.ranked(never).data]
    outside = [t.name for g in (genes, wide) for t in effects.agreement(g).data if str(t.name).startswith("outside")]
    assert len(outside) == 1  # all measured ones are within a band that is two wider
    assert effects.EXPERIMENT in words(effects.export_ranked(wide))


def test_files_say_that_they_are_synthetic() -> None:
    genes = table()
    for svg in (effects.export_ranked(genes, title="A+B"), effects.export_agreement(genes, title="A+B")):
        assert STAMP in words(svg) and "A+B" in words(svg)
    assert effects.export_ranked(genes, fmt="png").startswith(b"\x89PNG")
    assert effects.export_ranked(genes, fmt="pdf").startswith(b"%PDF")


def test_agreement_tells_genes_outside_of_their_interval() -> None:
    genes = table().assign(measured_log2fc=lambda t: t["log2fc"])
    genes.loc[3, "measured_log2fc"] = genes.loc[3, "high"] + 1
    figure = effects.agreement(genes)
    outside = next(t for t in figure.data if (t.name or "").startswith("outside"))
    assert list(outside.text) == ["G3"] and any("G3" in a.text for a in figure.layout.annotations)
    with pytest.raises(ScdiffError, match="No real cells"):
        effects.agreement(genes.assign(measured_log2fc=np.nan))


def test_what_cannot_be_drawn_is_told() -> None:
    with pytest.raises(ScdiffError, match="no column low"):
        effects.ranked(table().drop(columns="low"))
    with pytest.raises(ScdiffError, match="No gene has a predicted change"):
        effects.ranked(table().assign(log2fc=np.nan))
    with pytest.raises(ScdiffError, match="no perturbation"):
        effect_maps.effect_heat(pd.DataFrame())
    with pytest.raises(ScdiffError, match="shares enough genes"):
        effects.programs(pd.Series(dtype=float), pd.Series(dtype=float))


def test_programs_are_bars_from_raised_to_lowered_and_pale_where_not_sure() -> None:
    t = pd.Series({"a": 5.0, "b": -4.0, "c": 0.2})
    figure = effects.programs(t, pd.Series({"a": 0.001, "b": 0.01, "c": 0.8}))
    assert list(figure.layout.yaxis.ticktext) == ["a", "c", "b"]
    assert list(figure.data[0].marker.opacity) == [1.0, 0.3, 1.0]
    assert "activity" in words(effects.export_programs(t, pd.Series({"a": 0.001, "b": 0.01, "c": 0.8})))


def effect_matrix(n: int = 12, g: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    base = rng.normal(0, 1, (3, g))
    return pd.DataFrame(base[np.arange(n) % 3] + rng.normal(0, 0.1, (n, g)), index=[f"P{i}" for i in range(n)],
                        columns=[f"G{i}" for i in range(g)])


def test_the_heat_map_puts_alike_ones_together_and_is_even_about_zero() -> None:
    values = effect_matrix()
    figure = effect_maps.effect_heat(values, most=30)
    heat = figure.data[0]
    assert heat.zmin == -heat.zmax and np.shape(heat.z) == (12, 30)
    kinds = [int(name[1:]) % 3 for name in heat.y]
    assert sum(a != b for a, b in itertools.pairwise(kinds)) == 2
    assert list(effect_maps.effect_heat(values, clustered=False).data[0].y) == list(values.index)
    assert "log2 fold change" in words(effect_maps.export_effect_heat(values))


def test_top_genes_take_each_perturbation_in_turn() -> None:
    values = pd.DataFrame([[9.0, 0.0, 1.0, 0.0], [0.0, 0.2, 0.0, 0.1]], columns=list("abcd"))
    assert effect_maps.top_genes(values, 2) == ["a", "b"]


def test_the_map_of_perturbations_tells_measured_from_never_measured() -> None:
    rng = np.random.default_rng(0)
    xy, names, size = rng.normal(0, 1, (8, 2)), [f"P{i}" for i in range(8)], rng.random(8)
    measured = np.arange(8) < 5
    figure = effect_maps.perturbation_map(xy, names, size, measured=measured, chosen="P3")
    by = {t.name: t for t in figure.data if t.name and t.showlegend is False}
    assert len(by["in the training data"].x) == 5 and by["never trained on"].marker.symbol == "diamond"
    assert len(figure.data) == 5  # two kinds, two entries of the legend, one ring
    assert "never trained on" in words(effect_maps.export_perturbation_map(xy, names, size, measured=measured))
    with pytest.raises(ScdiffError, match="7 names"):
        effect_maps.perturbation_map(xy, names[:7], size)


def test_the_genes_of_a_pair_off_the_line_are_named() -> None:
    rng = np.random.default_rng(0)
    additive = rng.normal(0, 1, 100)
    pair = additive.copy()
    pair[0] += 2
    kinds = np.full(100, "additive", object)
    kinds[0] = "synergy"
    genes = pd.DataFrame({"gene": [f"G{i}" for i in range(100)], "additive": additive, "predicted": pair,
                          "kind": kinds})
    figure = effect_maps.synergy(genes, names=("A", "B"))
    assert [a.text for a in figure.layout.annotations] == ["<i>G0</i>"]
    assert "synergy (1)" in [t.name for t in figure.data]
    svg = words(effect_maps.export_synergy(genes, names=("A", "B")))
    assert "A + B, added up" in svg and STAMP in svg
