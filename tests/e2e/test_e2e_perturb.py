"""Perturbations in a real browser: train on the simulation, predict a pair it never saw, hold it against the truth."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pandas as pd
import pytest
from accessibility import in_both_schemes, source
from forms import pick, settle
from helpers import prepare_adata

from scdiff_core import keys
from scdiff_core.config import QC, Roles
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.simulate import CONTROL, STIMULUS, Truth, simulate

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
LONG = 240_000  # ms; a loaded machine of two cores
TRAINING = 900_000
KIND = "type_A"
SINGLES, PAIRS = 12, 8  # besides those of the pair that is held out: what training takes goes by them


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty workspace."""
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def dataset(workspace: Path) -> Prepared:
    """A part of `demo:perturb`, 400 genes kept: some singles and pairs, a stimulus; a pair of two of them held out."""
    adata = simulate(2500)
    labels = adata.obs[keys.PERTURBATION].astype(str).to_numpy()
    pair, *pairs = (c for c in Truth.of(adata).conditions() if "+" in c)
    singles = sorted({v for v in labels if "+" not in v} - {CONTROL, STIMULUS, *pair.split("+")})
    used = {CONTROL, STIMULUS, pair, *pair.split("+"), *singles[:SINGLES], *sorted(pairs)[:PAIRS]}
    return prepare_adata(adata[np.isin(labels, list(used))].copy(), workspace, "simulated", genes=400, qc=QC(),
                         roles=Roles(cell_type="cell_type", batch="batch", perturbation="perturbation",
                                     control=CONTROL, dose="dose"),
                         hold_out=[{"column": keys.PERTURBATION, "values": [pair]}])[0]


@pytest.fixture(scope="module")
def pair(dataset: Prepared) -> str:
    """The pair that was held out."""
    labels = dataset.labels(keys.PERTURBATION)
    trained = set(labels[dataset.rows(keys.TRAIN)].tolist())
    return next(p for p in sorted(set(labels.tolist()) - trained) if "+" in p)


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], workspace: Path, dataset: Prepared) -> str:
    """The address of the app."""
    return serve(ROOT / "app.py", workspace, {"SCDIFF_DATA_ROOT": str(workspace)})


def no_error(page: Page) -> None:
    said = page.locator("[data-testid=stAlertContentError]")
    assert said.count() == 0, said.all_inner_texts()
    assert page.locator("[data-testid=stException]").count() == 0


def accessible(page: Page, where: str) -> None:
    """Have axe look at the page as it is, light and dark."""
    found = in_both_schemes(page, source(), where)
    assert found == [], "\n".join(found)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def download(page: Page, button: Locator) -> bytes:
    with page.expect_download(timeout=LONG) as got:
        button.click()
    assert "synthetic" in got.value.suggested_filename
    return Path(got.value.path()).read_bytes()


def type_perturbation(page: Page, name: str) -> None:
    """Take out what is chosen, and type another perturbation."""
    field = page.get_by_role("combobox", name=re.compile("Perturbations"))
    field.click()
    for _ in range(6):
        page.keyboard.press("Backspace")
    page.keyboard.type(name)
    settle(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    settle(page)


def train(page: Page, app: str, dataset: Prepared) -> None:
    """Train a small model of perturbations on the Train page, and go on to where it is asked."""
    page.goto(f"{app}/train?dataset={dataset.name}")
    page.get_by_role("heading", name="Train", exact=True).wait_for()
    page.get_by_text(re.compile(r"^about \d")).first.wait_for(timeout=LONG)  # the timing is over
    page.get_by_text("Quick: a first look").click()
    field = page.get_by_role("spinbutton", name="Codec steps", exact=True)
    deadline = time.monotonic() + LONG / 1000
    while not field.is_visible() and time.monotonic() < deadline:
        page.get_by_text("Advanced", exact=True).click()
        settle(page)
    for name, steps in (("Codec steps", 150), ("Diffusion steps", 40)):
        field = page.get_by_role("spinbutton", name=name, exact=True)
        field.fill(str(steps))
        field.press("Enter")
        settle(page)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Predict perturbations").click(timeout=TRAINING)
    page.get_by_role("heading", name="Perturb", exact=True).wait_for(timeout=LONG)


def test_a_pair_that_was_never_seen_is_predicted_and_held_against_the_truth(
        browser_page: Page, app: str, dataset: Prepared, pair: str, workspace: Path) -> None:
    page = browser_page
    train(page, app, dataset)
    type_perturbation(page, "+".join(reversed(pair.split("+"))))  # the order does not matter
    pick(page, "Cell type", KIND)
    page.get_by_role("button", name="Predict", exact=True).click()
    page.get_by_role("tab", name="Overview").wait_for(timeout=LONG)
    page.locator("canvas.cc-cells").first.wait_for(timeout=LONG)
    page.get_by_text("never trained on").first.wait_for(timeout=LONG)
    page.get_by_text("Against the real cells").wait_for(timeout=LONG)
    page.get_by_text("None of them is one of your control cells").wait_for()
    no_error(page)
    accessible(page, "Overview")

    # every part of it
    open_tab(page, "Genes")
    page.locator(".js-plotly-plot").first.wait_for(timeout=LONG)
    page.get_by_role("radio", name="Against measured").click()
    page.get_by_text("Pearson r").first.wait_for(timeout=LONG)
    accessible(page, "Genes")
    open_tab(page, "Marker figures")
    page.get_by_text("Dot size").wait_for(timeout=LONG)
    no_error(page)

    # the file, against the truth of the simulation
    open_tab(page, "Download")
    target = workspace / "pair.h5ad"
    target.write_bytes(download(page, page.get_by_role("button", name="Cells (.h5ad)")))
    cells = anndata.read_h5ad(target)
    assert cells.n_obs == 200 and cells.obs[keys.SYNTHETIC].all()
    assert set(cells.obs[keys.PERTURBATION].astype(str)) == {pair} and set(cells.obs[keys.CELL_TYPE]) == {KIND}
    assert np.array_equal(cells.X.data, np.round(cells.X.data))
    truth = Truth.build()
    kept = [truth.genes.tolist().index(g) for g in dataset.genes]
    change = (truth.mean(pair, KIND) - truth.mean(CONTROL, KIND))[kept]
    rows = np.flatnonzero((dataset.labels(keys.PERTURBATION) == CONTROL) & (dataset.labels(keys.CELL_TYPE) == KIND))
    predicted = np.asarray(cells.layers[keys.LOG1P].mean(0)).ravel() - np.asarray(dataset.log1p(rows).mean(0)).ravel()
    assert np.corrcoef(predicted, change)[0, 1] > 0.7  # 200 cells and 150 steps: the full bound is in benchmarks
    effects = pd.read_csv(io.BytesIO(download(page, page.get_by_role("button", name="Effects (.csv)"))))
    assert len(effects) == dataset.n_genes and effects["measured_log2fc"].notna().any()
    assert (effects["low"] <= effects["log2fc"]).all() and (effects["log2fc"] <= effects["high"]).all()
    figures = zipfile.ZipFile(io.BytesIO(download(page, page.get_by_role("button", name="Figures (.zip)"))))
    assert any(n.endswith("-volcano.svg") for n in figures.namelist())

    # a perturbation of which nothing is known is refused, with what to do
    type_perturbation(page, "NOSUCHGENE-kd")
    page.get_by_role("button", name="Predict", exact=True).click()
    page.get_by_text("Nothing is known about 'NOSUCHGENE-kd'").wait_for(timeout=LONG)
    page.get_by_text("a table of your own").wait_for()

    # a list is screened and ranked
    page.get_by_role("radio", name="Screen", exact=True).click()
    pick(page, "Which perturbations", "Doses of one")
    pick(page, "Perturbation", STIMULUS)
    page.get_by_role("button", name="Screen", exact=True).click()
    page.get_by_role("tab", name="Heat map").wait_for(timeout=LONG)
    accessible(page, "Screen")
    open_tab(page, "Take along")
    table = pd.read_csv(io.BytesIO(download(page, page.get_by_role("button", name="Ranking (.csv)"))))
    by = table.set_index("dose")["strength"]
    assert by[10.0] > by[1.0] > by[0.1]
    no_error(page)

    # and what to measure next
    page.get_by_role("radio", name="What next?").click()
    pick(page, "Which perturbations", "My own list")
    singles = pair.split("+")
    page.get_by_label("One a line").fill("\n".join(f"{singles[0]}+TF{i:02d}-kd" for i in range(1, 9)))
    page.keyboard.press("Control+Enter")
    settle(page)
    page.get_by_role("button", name="What next?", exact=True).click()
    page.get_by_text("The experiments that would teach most").wait_for(timeout=LONG)
    no_error(page)
    accessible(page, "What next")
