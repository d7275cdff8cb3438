"""Inverse design in a real browser: edit a target, design cells, take them along, send what gets there to Perturb."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from accessibility import in_both_schemes, source
from forms import pick, settle
from helpers import prepare_adata

from scdiff_core import jobs, keys
from scdiff_core.analysis.markers import top_markers
from scdiff_core.config import QC, Roles, TrainConfig, validate
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.simulate import CONTROL, simulate
from scdiff_core.engine.presets import preset
from scdiff_core.engine.run_job import run_job
from scdiff_core.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
LONG = 240_000  # ms; a loaded machine of two cores
KIND, NAMES = "type_A", ["TF01-kd", "TF02-kd", "TF03-kd"]
CELLS = 48
STEPS = {"generate": (100, 80), "perturb": (60, 15)}  # of codec and diffusion: to work, not to be good
SINGLES = 6  # besides those that are ranked: what training takes goes by them


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of its own."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def dataset(workspace: Path) -> Prepared:
    """A part of `demo:perturb` with 300 genes, a small model that generates its cells, and one that perturbs them."""
    adata = simulate(2500)
    labels = adata.obs[keys.PERTURBATION].astype(str).to_numpy()
    singles = sorted({v for v in labels if v.endswith("-kd") and "+" not in v} - set(NAMES))
    prepared = prepare_adata(adata[np.isin(labels, [CONTROL, *NAMES, *singles[:SINGLES]])].copy(), workspace,
                             "simulated", genes=300, qc=QC(), roles=Roles(
        cell_type="cell_type", batch="batch", perturbation="perturbation", control=CONTROL))[0]
    for task, (first, second) in STEPS.items():
        codec, diffusion = preset("quick", prepared.values, task)
        config = validate(TrainConfig, {
            "dataset": "simulated", "fingerprint": prepared.fingerprint, "preset": "quick", "task": task, "name": task,
            "codec": {**codec.model_dump(), "steps": first}, "diffusion": {**diffusion.model_dump(), "steps": second}},
            "The test")
        assert run_job(jobs.create(Workspace(workspace), config).path) == 0
    return prepared


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], workspace: Path, dataset: Prepared) -> str:
    """The address of the Design page with the model that generates."""
    run = next(r for r in Workspace(workspace).list("train") if r.config().task == "generate")
    url = serve(ROOT / "app.py", workspace, {"SCDIFF_DATA_ROOT": str(workspace)})
    return f"{url}/design?dataset=simulated&run={run.id}"


@pytest.fixture(scope="module")
def wanted(dataset: Prepared) -> list[str]:
    """Two genes that mark a type, so that real cells have them both."""
    return top_markers(dataset.markers().query("group == @KIND"), 2)


def no_error(page: Page) -> None:
    said = page.locator("[data-testid=stAlertContentError]")
    assert said.count() == 0, said.all_inner_texts()
    assert page.locator("[data-testid=stException]").count() == 0


def accessible(page: Page, where: str) -> None:
    """Have axe look at the page as it is, light and dark."""
    found = in_both_schemes(page, source(), where)
    assert found == [], "\n".join(found)


def download(page: Page, button: Locator) -> bytes:
    with page.expect_download(timeout=LONG) as got:
        button.click()
    assert "synthetic" in got.value.suggested_filename
    return Path(got.value.path()).read_bytes()


def meeting(page: Page) -> int:
    """How many real cells meet every must, as the page says."""
    settle(page)
    said = page.get_by_text(re.compile(r"real cells? of [\d,]+ \(")).first
    said.wait_for(timeout=LONG)
    return int(said.inner_text().split(" real ")[0].replace(",", ""))


def test_a_target_is_edited_designed_and_sent_to_perturb(browser_page: Page, app: str, dataset: Prepared,
                                                         wanted: list[str], tmp_path: Path) -> None:
    page = browser_page
    page.goto(app)
    page.get_by_role("heading", name="Design", exact=True).wait_for()

    # the target, and what real cells say of it while it is edited
    page.get_by_role("button", name="Paste a list").click()
    page.get_by_label("Genes", exact=True).fill(", ".join(f"{g} up" for g in wanted))
    page.get_by_role("button", name="Add these", exact=True).click()
    first = meeting(page)
    assert first > 0
    page.keyboard.press("Escape")
    level = page.get_by_role("spinbutton", name=f"Level of {wanted[0]}", exact=True)
    level.fill("99")
    level.press("Enter")
    page.get_by_text("cannot be as high as 99").wait_for(timeout=LONG)
    page.get_by_role("button", name="the nearest possible").click()
    page.get_by_text("cannot be as high as 99").wait_for(state="detached", timeout=LONG)
    assert meeting(page) < first
    page.get_by_text("beyond the data").first.wait_for()
    level.fill("")
    level.press("Enter")
    page.get_by_text("beyond the data").first.wait_for(state="detached", timeout=LONG)
    assert meeting(page) == first

    # the handle on the histogram does the same
    handle = page.get_by_role("slider", name=f"Level of {wanted[0]} on the histogram")
    before = float(handle.get_attribute("aria-valuenow") or 0)
    handle.focus()
    page.keyboard.press("PageDown")
    page.wait_for_function("field => field.value !== ''", arg=level.element_handle(), timeout=LONG)
    assert float(level.input_value()) < before and meeting(page) > first
    no_error(page)
    accessible(page, "Target")

    # cells
    cells = page.get_by_role("spinbutton", name="How many cells")
    cells.fill(str(CELLS))
    cells.press("Enter")
    settle(page)
    page.get_by_role("button", name=re.compile("^Design · about")).click()
    page.get_by_role("button", name="Cancel").wait_for(timeout=LONG)
    page.get_by_text(re.compile(rf"^\d+ of {CELLS} meet the target; .* look unreal; .* of your cells already do this"
                                )).wait_for(timeout=LONG)
    page.locator("canvas.cc-cells").first.wait_for(timeout=LONG)
    no_error(page)
    accessible(page, "Designed cells")
    page.get_by_role("tab", name="Download", exact=True).click()
    file = tmp_path / "designed.h5ad"
    file.write_bytes(download(page, page.get_by_role("button", name="Cells (.h5ad)")))
    made = anndata.read_h5ad(file)
    assert made.n_obs == CELLS and made.obs[keys.SYNTHETIC].all() and made.obs["meets_target"].mean() > 0.5
    assert np.array_equal(made.X.data, np.round(made.X.data))
    rows = np.flatnonzero(dataset.labels(keys.PERTURBATION) == CONTROL)
    at = [dataset.genes.tolist().index(g) for g in wanted]
    assert np.asarray(made.layers[keys.LOG1P].mean(0)).ravel()[at].mean() > \
        np.asarray(dataset.log1p(rows).mean(0)).ravel()[at].mean()
    target = yaml.safe_load(download(page, page.get_by_role("button", name="Target (.yaml)")))
    assert [r["gene"] for r in target["genes"]] == wanted

    # how to get there, and on to Perturb
    page.get_by_text("How to get there", exact=True).click()
    pick(page, "Candidates", "a list of my own")
    page.get_by_label("One a line").fill("\n".join(NAMES))
    page.keyboard.press("Control+Enter")
    page.get_by_text("An empty list means").wait_for(state="detached", timeout=LONG)
    settle(page)
    page.get_by_role("button", name="Rank them").click()
    page.get_by_text(re.compile("Ranked by the")).wait_for(timeout=LONG)
    no_error(page)
    accessible(page, "How to get there")
    plan = pd.read_csv(io.BytesIO(download(page, page.get_by_role("button", name="Plan (.csv)"))))
    assert {"arm", "role", "cells"} <= set(plan.columns)
    send = page.get_by_role("button", name=re.compile(r"^Send \S+ to Perturb"))
    chosen = send.inner_text().split("Send ")[1].split(" to ")[0]
    assert chosen in NAMES
    send.click()
    page.get_by_role("heading", name="Perturb", exact=True).wait_for(timeout=LONG)
    page.get_by_role("tab", name="Overview").wait_for(timeout=LONG)
    page.locator(".st-key-verdict").get_by_text(chosen, exact=True).wait_for(timeout=LONG)
    no_error(page)
