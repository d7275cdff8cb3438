"""The tables of the perturbation benchmark: what is said follows from the figures."""

from __future__ import annotations

import math

from benchmarks import perturb_halves as halves
from benchmarks import perturb_tables as tables
from scdiff_core.analysis.perturb import judged


def _rows(ours: list[float], theirs: list[float], key: str = "pearson") -> list[dict]:
    return [{"method": m, "condition": str(i), "seed": 0, key: v}
            for m, values in (("ours", ours), ("additive", theirs)) for i, v in enumerate(values)]


def test_mean_se_by_hand() -> None:
    mean, se = judged.mean_se([1.0, 2.0, 3.0])
    assert mean == 2 and math.isclose(se, 1 / math.sqrt(3))
    assert math.isnan(judged.mean_se([1.0])[1])


def test_below_a_baseline_by_more_than_the_standard_error_is_said() -> None:
    # differences -.1, -.1, -.1, -.3: mean -.15, SE .05
    (words,) = tables.flags(_rows([0.5, 0.6, 0.7, 0.4], [0.6, 0.7, 0.8, 0.7]), [])
    assert words == "ours below additive on Pearson of change, control: by 0.150 (SE 0.050)"
    # differences -.1 and +.1
    assert tables.flags(_rows([0.5, 0.8], [0.6, 0.7]), []) == []


def test_less_is_better_for_distances() -> None:
    assert tables.flags(_rows([0.1, 0.2], [0.5, 0.7], "e_distance"), []) == []
    assert "E-distance" in tables.flags(_rows([0.5, 0.7], [0.1, 0.2], "e_distance"), [])[0]


def test_seeds_are_averaged_before_the_error_is_taken() -> None:
    rows = [{"method": "ours", "condition": c, "seed": s, "pearson": v}
            for c, s, v in (("A", 0, 0.2), ("A", 1, 0.4), ("B", 0, 0.5), ("B", 1, None))]
    assert judged.by_condition(rows, "ours", "pearson") == {"A": 0.30000000000000004, "B": 0.5}


def test_scaled_rows_by_hand() -> None:
    panels = [{"kind": "k", "seed": 0, "replicate": {"pds_cosine": 1.0, "de_wilcoxon_lfc_nmae": None}, "methods": {
        "mean response": {"pds_cosine": {"A": 0.5, "B": 0.5}, "de_wilcoxon_lfc_nmae": {"A": 1.0}},
        "ours": {"pds_cosine": {"A": 1.0, "B": 0.75}, "de_wilcoxon_lfc_nmae": {"A": 0.4}}}}]
    found = [r for r in judged.scaled_rows(panels) if r["method"] == "ours"]
    assert found == [{"method": "ours", "condition": "A", "seed": 0, "pds_cosine": 1.0},
                     {"method": "ours", "condition": "B", "seed": 0, "pds_cosine": 0.5}]
    assert "no answer" in tables.six_table(panels)


def test_plain_json() -> None:
    import numpy as np

    assert tables.plain({"a": np.float64(1.5), "b": [float("nan"), np.int64(2)]}) == {"a": 1.5, "b": [None, 2]}


def test_what_pretraining_brings_is_the_mean_difference_over_conditions() -> None:
    rows = [{"method": halves.SETS, "learnt": learnt, "condition": c, "seed": 0, "train_s": 40.0,
             **dict.fromkeys(halves.SHOWN, value)}
            for learnt, values in ((halves.PLAIN, (0.3, 0.5)), (halves.PRETRAINED, (0.2, 0.2)))
            for c, value in zip("AB", values, strict=True)]
    text = halves.section({"rows": rows, "fold": "both", "about": {"preset": "quick"}})
    # differences -.1 and -.3: mean -.2, SE .1
    assert "Pre-training, set diffusion: E-distance -0.200 (SE 0.100)" in text
    assert "| set diffusion | as it is | 1 | 0.400" in text and "moved controls" not in text


def test_coverage_is_told_for_each_seed_that_has_it() -> None:
    rows = [{"what": "unseen pair", "method": tables.MEAN, "condition": c, "seed": s, "pearson": 0.9, **more}
            for s, c, more in ((0, "A", {}), (1, "A", {"coverage": 0.8}), (1, "B", {"coverage": 0.9}))]
    synergy = [{"pair": p, "seed": 0, "kind": k, "multiple": m}
               for p, k, m in (("x", "synergistic", 1.5), ("y", "additive", 1.0))]
    text = tables.demo_section({"rows": rows, "synergy": synergy,
                                "about": {"seeds": [0, 1], "preset": "quick", "ours": True}})
    assert "Coverage by seed (1): unseen pair 0.850." in text and "AUC by seed: 1.00." in text
