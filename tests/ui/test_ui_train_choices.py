"""The choices of training on the Train page: what they set, and what is said where they cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest
from test_ui_pages import open_page

from scdiff_core import demo_model, jobs
from scdiff_core.config import TrainConfig
from scdiff_core.workspace import Workspace

GMT = b"ONE\tfirst\tCD3D\tCD3E\tCD2\tIL7R\nTWO\tsecond\tMS4A1\tCD79A\tCD79B\n"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    demo_model.install(Workspace(root))
    return root


@pytest.fixture
def train(demo: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The Train page on the demo, where no training is really started."""
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(demo))
    monkeypatch.setattr("pages._train.start.estimates", lambda *args: {"quick": 1.0, "standard": 2.0, "thorough": 3.0})
    monkeypatch.setattr(jobs, "start", lambda job, *args, **kwargs: None)
    at = open_page("train")
    at.radio(key="train_preset").set_value("quick").run()
    return at


def started(at: AppTest, root: Path) -> TrainConfig:
    """Press Train; the configuration of the run that was made."""
    before = {j.id for j in Workspace(root).list("train")}
    at = at.button(key="start_training").click().run()
    assert not at.exception and not at.error, [e.value for e in at.error]
    new = [j for j in Workspace(root).list("train") if j.id not in before]
    assert len(new) == 1
    return new[0].config()


def test_left_alone_it_asks_for_the_standard(train: AppTest, demo: Path) -> None:
    config = started(train, demo)
    plain = TrainConfig(dataset="d", fingerprint="f")
    assert config.diffusion.terms == plain.diffusion.terms
    assert (config.diffusion.schedule, config.diffusion.prediction, config.diffusion.backbone, config.codec.kind) == (
        "standard", "auto", "mlp", "vae")
    assert (config.precision, config.compile, config.gradient_checkpointing, config.run_code) == (
        "auto", False, False, False)


def test_every_choice_reaches_the_configuration(train: AppTest, demo: Path) -> None:
    choices: dict[str, Any] = {"codec-quick": "pca", "backbone-quick": "transformer", "schedule-quick": "flow",
                               "prediction-quick": "v", "train_precision": "bf16"}
    for key, value in choices.items():
        train.selectbox(key=key).set_value(value).run()
    train.number_input(key="programs-quick").set_value(8).run()
    for term, value in (("sparsity", 0.1), ("mmd", 0.2), ("non_negativity", 0.3)):
        train.number_input(key=f"term_{term}-quick").set_value(value).run()
    for switch in ("train_recompute", "train_compile"):
        train.toggle(key=switch).set_value(True).run()
    config = started(train, demo)
    assert (config.codec.kind, config.diffusion.backbone, config.diffusion.programs) == ("pca", "transformer", 8)
    assert (config.diffusion.schedule, config.diffusion.prediction, config.precision) == ("flow", "v", "bf16")
    terms = config.diffusion.terms
    assert (terms.sparsity, terms.mmd, terms.non_negativity) == (0.1, 0.2, 0.3)
    assert config.compile and config.gradient_checkpointing


def test_pathways_need_sets_which_can_be_brought(train: AppTest, demo: Path) -> None:
    train.number_input(key="term_pathways-quick").set_value(1.0).run()
    assert any("go together" in e.value for e in train.error), [e.value for e in train.error]  # none is chosen
    assert not [b for b in train.button if b.key == "start_training"]
    train.file_uploader(key="loss_file").set_value(("mine.gmt", b"\x00\xff\xfe", "text/plain")).run()
    assert not train.exception and not (demo / "gene_sets" / "mine.gmt").exists()
    train.file_uploader(key="loss_file").set_value(("mine.gmt", GMT, "text/plain")).run()
    config = started(train, demo)
    assert config.diffusion.terms.gene_sets == (str((demo / "gene_sets" / "mine.gmt").absolute()),)


def test_a_schedule_of_ones_own_runs_only_when_allowed(train: AppTest, demo: Path) -> None:
    train.selectbox(key="schedule-quick").set_value("custom").run()
    assert any("class Schedule" in c.value for c in train.code)
    (demo / "schedules").mkdir(exist_ok=True)
    (demo / "schedules" / "mine.py").write_text("class Schedule:\n    pass\n")
    train.run()
    assert not train.toggle(key="run_code-quick").value
    train.toggle(key="run_code-quick").set_value(True).run()
    config = started(train, demo)
    assert config.diffusion.schedule_file == "mine.py" and config.run_code


def test_another_runs_codec_can_be_begun_with(train: AppTest, demo: Path) -> None:
    options = train.selectbox(key="train_start_from").options
    assert options[0] == "nothing: learn anew" and len(options) > 1
    trained = next(r for r in Workspace(demo).list("train") if (r.checkpoints / "best.safetensors").exists())
    train.selectbox(key="train_start_from").set_value(trained.id).run()
    assert started(train, demo).codec.start_from == trained.id
