"""Each choice of training trains and generates on small data; what cannot be had is refused in plain words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_data import small_config, small_prepared

from scdiff_core import keys
from scdiff_core.analysis.choices import SCHEDULE_EXAMPLE
from scdiff_core.config import GenerateConfig, TrainConfig, override
from scdiff_core.engine import checkpoint, device, start_from
from scdiff_core.engine.custom_schedule import find, tabulate
from scdiff_core.engine.estimate import estimate_seconds
from scdiff_core.engine.generate import generate
from scdiff_core.engine.loss_terms import set_weights
from scdiff_core.engine.model import Model
from scdiff_core.engine.train import Training, train
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace

GMT = "ONE\tfirst\tG1\tG2\tG3\tG4\nTWO\tsecond\tg20\tg21\tG22\tNOT\nFEW\tthird\tG30\tNOT\n"


def trained(root: Path, prepared: Any = None, **changes: Any) -> tuple[JobDir, list[Any]]:
    """Train a small run; its events."""
    prepared = prepared or small_prepared()
    config = small_config(prepared, **changes)
    job = Workspace(root).create(config, f"run{len(list(root.glob('runs/*')))}")
    return job, list(train(job, prepared, config, resume=False))


def cells(job: JobDir, **asked: Any) -> np.ndarray:
    """Generate 40 cells; their values."""
    steps = generate(Model.load(job, "cpu"), GenerateConfig(run=job.id, n_cells=40, **asked))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.X.toarray()


def gmt(root: Path) -> str:
    path = root / "some.gmt"
    path.write_text(GMT)
    return str(path)


CHOICES: dict[str, dict[str, Any]] = {
    "genes": {"codec": {"kind": "genes"}},
    "linear": {"diffusion": {"schedule": "linear"}},
    "cosine": {"diffusion": {"schedule": "cosine"}},
    "edm": {"diffusion": {"schedule": "edm"}},
    "flow": {"diffusion": {"schedule": "flow"}},
    "eps": {"diffusion": {"prediction": "eps"}},
    "x0": {"diffusion": {"prediction": "x0"}},
    "v": {"diffusion": {"prediction": "v"}},
    "transformer": {"diffusion": {"backbone": "transformer", "programs": 4, "program_width": 16}},
    "sparsity": {"diffusion": {"terms": {"sparsity": 0.1}}},
    "mmd": {"diffusion": {"terms": {"mmd": 1.0}}},
    "non-negativity": {"codec": {"kind": "pca"}, "diffusion": {"terms": {"non_negativity": 1.0}}},
    "bf16": {"precision": "bf16"},
    "recompute": {"gradient_checkpointing": True},
}


@pytest.mark.parametrize("changes", CHOICES.values(), ids=CHOICES)
def test_each_choice_trains_and_generates(tmp_path: Path, changes: dict[str, Any]) -> None:
    job, events = trained(tmp_path, **{k: dict(v) if isinstance(v, dict) else v for k, v in changes.items()})
    assert events[-1].step == events[-1].total
    assert np.isfinite(events[-1].loss_train)
    x = cells(job)
    assert np.array_equal(x, x.round()) and (x >= 0).all() and (x > 0).any()


def test_genes_themselves_also_of_continuous_values(tmp_path: Path) -> None:
    prepared = small_prepared(values=keys.CONTINUOUS)
    x = cells(trained(tmp_path, prepared, codec={"kind": "genes"})[0])
    assert (x >= 0).all() and 0 < (x == 0).mean() < 1
    least = np.where(prepared.counts.toarray() > 0, prepared.counts.toarray(), np.inf).min(0)
    assert (x[x > 0] >= 0.49 * np.broadcast_to(least, x.shape)[x > 0]).all()


def test_genes_themselves_are_timed_resumed_and_refused_where_they_are_too_many(tmp_path: Path) -> None:
    prepared = small_prepared()
    config = small_config(prepared, codec={"kind": "genes"})
    assert estimate_seconds(prepared, config) > 0
    job = Workspace(tmp_path).create(config, "one")
    steps = train(job, prepared, config, resume=False)
    for event in steps:
        if event.phase == "diffusion":
            (job.path / "stop").touch()
    (job.path / "stop").unlink()
    assert event.stopped
    assert list(train(job, prepared, config, resume=True))[-1].step == 1 + config.diffusion.steps
    with pytest.raises(ScdiffError, match="genes themselves"):
        Training(prepared, override(config, ["task=perturb"]))
    from scdiff_core.engine.train_codec import build_codec

    with pytest.raises(ScdiffError, match="5,000 at most"):
        build_codec(config.codec, 6000, True, True, 8)


def test_a_custom_schedule_is_run_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "schedules"
    folder.mkdir()
    (folder / "mine.py").write_text(SCHEDULE_EXAMPLE)
    asked = {"diffusion": {"schedule": "custom", "schedule_file": "mine.py"}}
    with pytest.raises(ScdiffError, match="off unless you allow it"):
        trained(tmp_path, **{k: dict(v) for k, v in asked.items()})
    job, _ = trained(tmp_path, run_code=True, **asked)
    (folder / "mine.py").write_text("raise SystemExit('never run again')")
    model = Model.load(job, "cpu")
    alpha, sigma = model.denoiser.schedule(torch.linspace(0, 1, 5, dtype=torch.float64))
    torch.testing.assert_close((sigma / alpha).atan(), 0.05 + 1.45 * torch.linspace(0, 1, 5, dtype=torch.float64),
                               rtol=1e-3, atol=1e-3)
    assert (cells(job, sampler="ode", steps=4) > 0).any()


@pytest.mark.parametrize(("body", "said"), [
    ("return t", "failed"),
    ("return 1 / 0, t", "ZeroDivisionError"),
    ("return 1 - t, t + 0.1", "alpha is not a finite number above zero at t = 1"),
    ("return 1 - 0.9 * t, 0.9 * (1 - t) + 0.05", "does not rise at t = 0.00391"),
    ("return 1 + 0 * t, 0.1 + t", "goes from 0.1 to 1.1"),
    ("return 1.0, t", "alpha is not a tensor"),
])
def test_a_schedule_that_is_none_is_refused(tmp_path: Path, body: str, said: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(f"class Schedule:\n    def __call__(self, t):\n        {body}\n")
    with pytest.raises(ScdiffError) as caught:
        tabulate(path, True)
    assert said in str(caught.value) or said in caught.value.what


def test_a_schedule_lies_in_the_workspace(tmp_path: Path) -> None:
    assert find(tmp_path, "mine.py") == tmp_path / "schedules" / "mine.py"
    with pytest.raises(ScdiffError, match="It is a path"):
        find(tmp_path, "../mine.py")
    with pytest.raises(ScdiffError, match="no such text file"):
        tabulate(tmp_path / "none.py", True)


def test_pathways_are_held_to(tmp_path: Path) -> None:
    """Far stronger than any use of it, the term brings the means over the sets nearer."""
    genes = small_prepared().genes.tolist()
    sets = set_weights((gmt(tmp_path),), genes)
    assert sets.shape == (2, len(genes)) and torch.allclose(sets.sum(1), torch.ones(2))
    assert sets[1].nonzero().squeeze(1).tolist() == [20, 21, 22]
    job, _ = trained(tmp_path, diffusion={"terms": {"pathways": 1.0, "gene_sets": (gmt(tmp_path),)}})
    assert (cells(job) > 0).any()
    with pytest.raises(ScdiffError, match="no such file"):
        set_weights((str(tmp_path / "none.gmt"),), genes)
    with pytest.raises(ScdiffError, match="has 3 genes of the dataset"):
        set_weights((gmt(tmp_path),), [g.replace("G", "Ensembl") for g in genes])


def test_non_negativity_of_rates_is_refused() -> None:
    prepared = small_prepared()
    with pytest.raises(ScdiffError, match="never below zero"):
        Training(prepared, small_config(prepared, diffusion={"terms": {"non_negativity": 1.0}}))


def shuffled(prepared: Any, order: np.ndarray, names: np.ndarray) -> Any:
    """The dataset with its genes in another order, and under other names where `names` says so."""
    import dataclasses

    return dataclasses.replace(prepared, counts=prepared.counts[:, order].tocsr(), genes=names,
                               pca_mean=prepared.pca_mean[order],
                               pca_components=np.ascontiguousarray(prepared.pca_components[:, order]))


def test_a_codec_begins_with_anothers_weights_gene_by_gene(tmp_path: Path) -> None:
    job, _ = trained(tmp_path, codec={"steps": 60})
    prepared = small_prepared()
    order = np.random.default_rng(0).permutation(len(prepared.genes))
    names = prepared.genes[order].copy()
    names[:5] = [f"NEW{i}" for i in range(5)]
    other = shuffled(prepared, order, names)
    training = Training(other, small_config(other, codec={"start_from": str(job.path)}))
    old = Model.load(job, "cpu").codec
    logits, before = (c.head.logits.weight.detach() for c in (training.codec, old))
    torch.testing.assert_close(logits[5:-1], before[order[5:]])
    torch.testing.assert_close(logits[-1], before[-1])  # all other genes together
    assert not torch.allclose(logits[:5], before[order[:5]])
    enter, known = (c.encoder[0].weight.detach() for c in (training.codec, old))
    torch.testing.assert_close(enter[:, 5:-1], known[:, order[5:]])
    torch.testing.assert_close(enter[:, -1], known[:, -1])  # the library size
    rest = [k for k in old.state_dict() if k.startswith(("posterior", "decoder"))]
    assert rest and all(torch.equal(training.codec.state_dict()[k], old.state_dict()[k]) for k in rest)
    file = job.checkpoints / "best.safetensors"
    assert start_from.begin_with(training.codec, other, str(file)) == len(prepared.genes) - 5


def test_a_codec_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    job, _ = trained(tmp_path)
    prepared = small_prepared()
    begin = {"start_from": str(job.path)}
    strange = shuffled(prepared, np.arange(len(prepared.genes)), np.array([f"X{g}" for g in prepared.genes]))
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (strange, {}, "It knows 0 of the 60 genes"), (prepared, {"hidden": (20,)}, "another shape"),
        (prepared, {"kind": "pca"}, "another shape"), (prepared, {"kind": "genes"}, "has none")]
    for data, codec, said in cases:
        with pytest.raises(ScdiffError, match=said):
            Training(data, small_config(data, codec={**begin, **codec}))
    with pytest.raises(ScdiffError, match="no model yet"):
        Training(prepared, small_config(prepared, codec={"start_from": str(tmp_path / "none")}))


def test_recomputing_blocks_changes_no_weight(tmp_path: Path) -> None:
    found = [checkpoint.load(checkpoint.path_of(trained(tmp_path, gradient_checkpointing=on)[0], "last"))[0]
             for on in (False, True)]
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])


def test_precision_is_what_was_asked_for() -> None:
    cpu = torch.device("cpu")
    x = torch.randn(4, 4)
    for asked, kind in (("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with device.autocast(cpu, asked):
            assert (x @ x).dtype == kind


def test_without_a_compiler_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    _, events = trained(tmp_path, compile=True)
    assert "the network is not compiled" in capsys.readouterr().out
    assert events[-1].step == events[-1].total


def test_a_compiled_network_says_the_same() -> None:
    """What torch.compile traces; its own backend takes minutes on a busy machine, and is not the project's."""
    prepared = small_prepared()
    training = Training(prepared, small_config(prepared))
    condition = training.cells.condition
    given = torch.randn(4, training.codec.n_dims), torch.randn(4), condition.rows(slice(0, 4))
    with torch.no_grad():
        training.network.leave.weight.normal_()
    plain = training.network.eval()(*given)
    assert device.compiled(training.network, training.codec.n_dims, condition, torch.device("cpu"), "eager")
    torch.testing.assert_close(training.network(*given), plain)
    assert not any("_orig_mod" in k for k in training.network.state_dict())


def test_a_configuration_of_an_earlier_version_is_read_as_it_was(tmp_path: Path) -> None:
    old = {"dataset": "d", "fingerprint": "f", "codec": {"kind": "vae", "n_latent": 8}, "diffusion": {"width": 32}}
    config = TrainConfig.model_validate(old)
    assert (config.diffusion.schedule, config.diffusion.prediction, config.diffusion.backbone) == (
        "standard", "auto", "mlp")
    assert not config.diffusion.terms.on and config.precision == "auto" and config.codec.start_from is None


def test_designing_and_changing_cells_want_a_codec(tmp_path: Path) -> None:
    from scdiff_core.engine.denoised import Denoised
    from scdiff_core.engine.design import prepare
    from scdiff_core.engine.populations import bare
    from scdiff_core.target import Target

    prepared = small_prepared()
    model = Model.load(trained(tmp_path, prepared, codec={"kind": "genes"})[0], "cpu")
    with pytest.raises(ScdiffError, match="genes themselves"):
        prepare(model, Denoised.of(model, prepared), Target())
    with pytest.raises(ScdiffError, match="genes themselves"):
        bare(model.codec.decode(torch.zeros(2, model.codec.n_dims)))
