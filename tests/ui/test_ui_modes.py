"""The further modes of the Generate page by AppTest: what they ask of the worker, show and refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_perturb import no_worker
from helpers import prepare_adata, tiny_counts_adata
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page, words

from scdiff_core import demo_model
from scdiff_core.config import (
    QC,
    UNSEEN_GUIDANCE,
    UNSEEN_SCALE,
    CodecConfig,
    DiffusionConfig,
    Roles,
    TrainConfig,
)
from scdiff_core.config_modes import ChangeConfig, Ends, TrajectoryConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.engine.train import train
from scdiff_core.selection import REAL, Selection
from scdiff_core.selections import Selections
from scdiff_core.workspace import Workspace

TYPE = "bulk_labels"
B, MONO = f"{TYPE}: CD19+ B", f"{TYPE}: CD14+ Monocyte"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with a path and changed cells made by its model, and saved cells."""
    from scdiff_core.engine.model import Model
    from scdiff_core.engine.modes_ops import steps_of
    from scdiff_core.engine.steps import follow

    root = tmp_path_factory.mktemp("demo")
    dataset, run = demo_model.install(Workspace(root))
    prepared, model = Prepared.open(dataset), Model.load(run, "cpu")
    for i, config in enumerate((
            TrajectoryConfig(run=run.id, start=Ends(column=TYPE, value="CD19+ B"),
                             end=Ends(column=TYPE, value="CD14+ Monocyte"), points=3, n_cells=60),
            ChangeConfig(run=run.id, origin={TYPE: "CD19+ B"}, to={TYPE: "Dendritic"}, n_cells=40))):
        adata = follow(steps_of(model, config, prepared), lambda step, share: None)
        path = run.outputs / f"made-{i}"
        outputs.write_cells(path / outputs.CELLS, adata)
        outputs.write_json(path / outputs.RECIPE, {"kind": config.kind, "n_cells": adata.n_obs,
                                                   "config": config.model_dump(mode="json")})
        codes = prepared.vocab.encode(adata.obs)[0].astype(np.int32)
        xy = np.random.default_rng(0).normal(size=(adata.n_obs, 2)).astype(np.float32)
        outputs.write_view(path, {"xy": xy, "pca": xy, "distance": xy[:, 0], "codes": codes, "exact": np.array(True)})
    kept = Selections(dataset, prepared.fingerprint, prepared.n_cells)
    kept.save(kept.keep(Selection({REAL: prepared.labels(TYPE) == "CD56+ NK"})), "killers")
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the page asks of the worker, which is not started."""
    return no_worker(monkeypatch)


@pytest.fixture
def page(demo: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What opens the page in a mode."""
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(demo))

    def start(mode: str, **state: Any) -> AppTest:
        return open_page("generate", dataset=demo_model.NAME, run=demo_model.NAME, generate_mode=mode, **state)

    return start


def box(at: AppTest, label: str) -> Any:
    return next(s for s in at.selectbox if s.label == label)


def press(at: AppTest, label: str) -> AppTest:
    at = next(b for b in at.button if b.label == label).click().run()
    assert not at.exception, [e.value for e in at.exception]
    return at


def modes(asked: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    return [values for op, values in asked if op == "modes"]


def test_a_path_is_asked_for_by_its_ends(page: Any, asked: list[Any]) -> None:
    at = page("trajectory")
    box(at, "Start").set_value(MONO).run()
    box(at, "End").set_value("my cells: killers").run()
    press(at, "Generate path")
    config = modes(asked)[-1]["config"]
    assert modes(asked)[-1]["kind"] == "trajectory"
    assert config["start"]["value"] == "CD14+ Monocyte" and config["end"]["cells"]["name"] == "killers"
    TrajectoryConfig.model_validate(config)


def test_a_path_to_where_it_begins_is_refused(page: Any, asked: list[Any]) -> None:
    at = page("trajectory")
    box(at, "Start").set_value(B).run()
    box(at, "End").set_value(B).run()
    at = press(at, "Generate path")
    assert any("lead nowhere" in e.value for e in at.error) and not modes(asked)


@pytest.mark.parametrize(("tab", "said"), [("Path", "median places"), ("Gene curves", "Bands")])
def test_a_path_is_shown_over_the_map_and_gene_by_gene(page: Any, tab: str, said: str) -> None:
    at = page("trajectory", **{"trajectory-tabs": tab})
    assert not at.error, [e.value for e in at.error]
    assert "CD19+ B" in words(at).replace("\\", "") and said in words(at)


def test_cells_are_changed_in_what_is_chosen(page: Any, asked: list[Any]) -> None:
    at = page("change")
    assert "Dendritic" in words(at)
    box(at, "Which cells").set_value("my cells: killers").run()
    box(at, "To").set_value("CD19+ B").run()
    at.slider(key="change_strength").set_value(0.8).run()
    press(at, "Change cells")
    config = modes(asked)[-1]["config"]
    assert config["to"] == {TYPE: "CD19+ B"} and config["strength"] == 0.8 and config["cells"]["name"] == "killers"
    ChangeConfig.model_validate(config)


def test_a_scale_for_each_covariate_and_a_label_are_asked_for(page: Any, asked: list[Any]) -> None:
    at = page("cells", generate_advanced=True)
    next(t for t in at.toggle if t.label == "A scale for each covariate").set_value(True).run()
    next(s for s in at.slider if s.label == f"Scale of {TYPE}").set_value(3.0).run()
    box(at, "A label the model was not trained with").set_value("phase").run()
    box(at, "Guide towards, in phase").set_value("S").run()
    press(at, "Generate")
    config = next(values for op, values in reversed(asked) if op == "generate")["config"]
    assert config["guidance"] == {TYPE: 3.0}
    assert config["classifier"] == [{"column": "phase", "value": "S", "scale": 1.0}]


def test_a_combination_that_no_cell_has_is_followed_more_strictly(tmp_path: Path, asked: list[Any],
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    adata = tiny_counts_adata(160, 60)
    batch, kind = adata.obs["batch"].astype(str).to_numpy(), adata.obs["cell_type"].astype(str).to_numpy()
    adata.obs["batch"] = np.where(kind == "B", "two", batch)
    prepared, _ = prepare_adata(adata, tmp_path, genes="all", qc=QC(),
                                roles=Roles(cell_type="cell_type", batch="batch"))
    config = TrainConfig(dataset=prepared.name, fingerprint=prepared.fingerprint, device="cpu", threads=1,
                         codec=CodecConfig(n_latent=4, hidden=(16,), steps=4, minibatch=32),
                         diffusion=DiffusionConfig(width=16, depth=1, steps=4, minibatch=32))
    run = Workspace(tmp_path).create(config, "run")
    list(train(run, prepared, config, resume=False))
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(tmp_path))
    at = open_page("generate", dataset=prepared.name, run=run.id, generate_mode="cells")
    box(at, "cell type").set_value("B").run()
    assert "No cell that the model learnt from" not in words(at)
    box(at, "batch").set_value("one").run()
    assert any("No cell that the model learnt from" in i.value for i in at.info)
    press(at, "Generate")
    sent = next(values for op, values in reversed(asked) if op == "generate")["config"]
    assert sent["guidance"] == {"cell_type": UNSEEN_GUIDANCE, "batch": UNSEEN_GUIDANCE}
    assert [(c["column"], c["value"], c["scale"]) for c in sent["classifier"]] == [
        ("cell_type", "B", UNSEEN_SCALE), ("batch", "one", UNSEEN_SCALE)]
    next(t for t in at.toggle if t.label == "Follow each label more strictly").set_value(False).run()
    press(at, "Generate")
    sent = next(values for op, values in reversed(asked) if op == "generate")["config"]
    assert sent["guidance"] == {} and not sent["classifier"]
