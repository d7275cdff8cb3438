"""The report of a model of perturbations: what it holds and says, and what it is where nothing was held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perturb_run import PAIR, PAIRS, trained_run

from scdiff_core.analysis.perturb import card, panel
from scdiff_core.analysis.perturb.baselines import SHIFTS
from scdiff_core.data.perturbations import parse
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import report_full, report_perturb, report_perturb_page
from scdiff_core.engine.report_perturb import MEAN, OURS
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir

HELD = (PAIR, *PAIRS[:9])
Made = tuple[Prepared, JobDir, dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    prepared, job = trained_run(tmp_path_factory.mktemp("report"), HELD)
    told: list[float] = []
    values = report_full.make(job, prepared, _never, progress=lambda words, share: told.append(share))
    assert told == sorted(told) and told[-1] == 1.0
    return prepared, job, values


def _never(asked: Any, tell: Any) -> Any:
    raise AssertionError("a model of perturbations generates no cells for its report")


def test_it_holds_every_baseline_the_floor_and_every_score(made: Made) -> None:
    values = made[2]
    (kind,) = values["kinds"]
    assert kind["kind"] == "pair with both members seen"
    by = {m["method"]: m for m in kind["methods"]}
    assert {OURS, MEAN, "control", "mean response", "mean response of the type", "additive", "nearest", "linear",
            "latent arithmetic", card.FLOOR} <= set(by)
    assert set(by) - {OURS, MEAN, "latent arithmetic", card.FLOOR} <= set(SHIFTS)
    for key in ("pearson", "pearson_centroid", "e_distance", "mmd", "overlap_20", "variance_ratio"):
        assert all(by[m][key] is not None for m in (OURS, "additive", card.FLOOR))
    # an unmoved control has no direction, and against the centroid the mean response of the type is the centroid
    assert by["control"]["pearson"][0] == 0 and by["mean response of the type"]["pearson_centroid"][0] == 0
    six = {m["method"]: m for m in values["six"]}
    assert {OURS, "additive", "mean response", "latent arithmetic"} <= set(six)
    assert set(panel.SIX) <= set(six[OURS]) and values["settings"]["six"]["conditions"] > 1


def test_scaled_scores_are_0_for_the_mean_response(made: Made) -> None:
    base = next(m for m in made[2]["six"] if m["method"] == "mean response")
    assert all(abs(base[k][0]) < 1e-4 for k in panel.SIX if base[k])


def test_what_is_said_follows_from_the_figures(made: Made) -> None:
    values = made[2]
    by = {m["method"]: m for m in values["kinds"][0]["methods"]}
    assert f"the Pearson of change is {by[OURS]['pearson'][0]:.2f}" in values["sentence"]
    floor = by[card.FLOOR]["e_distance"][0]
    assert ("the floor 0 (reckoned" if floor < 0 else f"the floor {floor:.2f}") in values["sentence"]
    said = " ".join(values["notes"])
    assert "90 % interval of what an experiment with as many cells would measure" in said
    assert "control cells moved by the predicted mean" in said and "No perturbation was held out" not in said
    assert len(values["lines"]) == max(1, len(values["below"])) + len(values["below_own"])
    assert values["leakage"] and all("the nearest in training is" in line for line in values["leakage"])


def test_each_condition_has_its_coverage_reach_and_rival(made: Made) -> None:
    values = made[2]
    assert {c["perturbation"] for c in values["conditions"]} <= {parse(p).label for p in HELD}
    assert len(values["conditions"]) == values["n_conditions"] > 2
    for c in values["conditions"]:
        assert 0 <= c["coverage"] <= 1 and c["n_real"] >= card.LEAST_CELLS and c["best"] in SHIFTS | {
            "latent arithmetic": None}
    assert len({(c["perturbation"], c["cell_type"]) for c in values["conditions"]}) == len(values["conditions"])


def test_it_lies_on_disk_as_page_and_json_and_is_not_made_twice(made: Made) -> None:
    prepared, job, values = made
    folder = report_full.folder(job)
    page = (folder / report_full.PAGE).read_text(encoding="utf-8")
    assert all(f"<h2>{words}</h2>" in page for words in report_perturb_page.SECTIONS.values()) and "<script" not in page
    assert json.loads((folder / report_full.JSON).read_text(encoding="utf-8"))["kind"] == report_full.PERTURB
    assert {p.stem for p in (folder / "figures").glob("*.svg")} == {f["key"] for f in values["figures"]}
    before = (folder / report_full.JSON).stat().st_mtime_ns
    assert report_full.make(job, prepared, _never) == report_full.read_report(job, report_full.PERTURB)
    assert (folder / report_full.JSON).stat().st_mtime_ns == before
    assert report_full.read_report(job) is None  # none of generated cells, so not to be laid beside one


def test_below_a_baseline_is_said_in_a_plain_sentence() -> None:
    own = {"method": MEAN, "title": "E-distance", "by": 0.2, "se": 0.1, "scaled": False}
    values = {"below_own": [own],
              "below": [{"method": "additive", "title": "E-distance", "by": 0.0123, "se": 0.004, "scaled": False},
                        {"method": "nearest", "title": "PDS (cosine)", "by": 0.1, "se": float("nan"), "scaled": True}]}
    assert report_perturb.said_below(values) == [
        "Below the additive model on E-distance by 0.012 (standard error 0.004).",
        "Below the nearest perturbation on PDS (cosine) (scaled) by 0.100 "
        "(one condition, so without a standard error).",
        "Below its mean alone, a part of this model itself, on E-distance by 0.200 (standard error 0.100)."]
    assert report_perturb.said_below({"below": [], "below_own": []}) == [
        "Nowhere below a baseline by more than the standard error of the difference."]


def test_conditions_are_drawn_evenly_from_the_kinds() -> None:
    class Kinds:
        def kind(self, condition: Any) -> str:
            return "rare" if condition >= 95 else "common"

    chosen = report_perturb.some(list(range(100)), Kinds(), 0, 8)  # type: ignore[arg-type]
    assert len(chosen) == 8 and sum(c >= 95 for c in chosen) == 4 and chosen == sorted(chosen)


def test_without_a_held_out_perturbation_it_judges_held_out_cells_and_says_so(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "LEAST_CELLS", 4)
    monkeypatch.setattr(card, "six", lambda *a, **k: {"seed": 0, "replicate": {}, "methods": {}})
    prepared, job = trained_run(tmp_path, ())
    values = report_perturb.make(job, prepared)
    assert [k["kind"] for k in values["kinds"]] == [card.SEEN] and not values["unseen"]
    assert values["notes"][0].startswith("No perturbation was held out as a whole")
    assert values["leakage"] and all("other cells of the same condition" in line for line in values["leakage"])
    assert values["n_conditions"] <= report_perturb.MOST


def test_nothing_to_judge_by_is_refused(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, job, _ = made
    monkeypatch.setattr(card, "LEAST_CELLS", 10_000)
    with pytest.raises(ScdiffError, match="held-out cells that it could be judged by") as caught:
        report_perturb.full_report(job, prepared)
    assert "--hold-out unseen-perturbation" in caught.value.fix


def test_the_rows_are_plain_numbers(made: Made) -> None:
    assert all(v is None or isinstance(v, str | int | float | dict) for r in made[2]["rows"] for v in r.values())
    assert not any(isinstance(v, float) and np.isnan(v) for r in made[2]["rows"] for v in r.values())
