"""Configurations: in and out of yaml, settings from the command line, and what is said of wrong ones."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdiff_core import config as cfg
from scdiff_core.config_files import from_yaml
from scdiff_core.errors import ScdiffError

TRAIN = cfg.TrainConfig(dataset="d", fingerprint="f")


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@settings(max_examples=30, deadline=None)
@given(name=st.text(min_size=1, max_size=20), seed=st.integers(0, 2**31), values=st.lists(st.text(max_size=8)))
def test_a_configuration_comes_back_from_yaml_as_it_was(
        tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, values: list[str]) -> None:
    asked = cfg.PrepareConfig(source=name, name=name, seed=seed, genes="all", keep_genes=tuple(values),
                              hold_out=(cfg.HoldOut(column=name, values=tuple(values)),))
    path = write(tmp_path_factory.mktemp("c"), cfg.to_yaml(asked))
    assert from_yaml(path) == asked


def test_settings_reach_into_the_parts_of_a_configuration() -> None:
    new = cfg.override(TRAIN, ["diffusion.steps=7", "codec.hidden=[8, 4]", "device=cpu", "codec.lr=1e-4"])
    assert (new.diffusion.steps, new.codec.hidden, new.device, new.codec.lr) == (7, (8, 4), "cpu", 1e-4)
    assert TRAIN.diffusion.steps != 7


@pytest.mark.parametrize(("setting", "said"), [
    ("diffusion.step=7", "diffusion.steps"),  # the nearest is named
    ("steps", "no '='"),
    ("diffusion.steps=-1", "greater than or equal to 1"),
    ("diffusion.steps=many", "valid integer"),
    ("device=gpu", "'auto', 'cpu', 'cuda' or 'mps'"),
    ("codec.kind=gan", "'vae', 'pca' or 'genes'"),
    ("diffusion.schedule=custom", "diffusion.schedule_file go together"),
    ("diffusion.terms.pathways=1", "gene_sets (.gmt files) go together"),
    ("diffusion.terms.mmd=-1", "'diffusion.terms.mmd'"),
])
def test_a_wrong_setting_is_told_by_name(setting: str, said: str) -> None:
    with pytest.raises(ScdiffError) as caught:
        cfg.override(TRAIN, [setting])
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [
    ("kind: [train", "not valid yaml at line 1"),
    ("just words", "which kind of job"),
    ("kind: cook", "which kind of job"),
    ("kind: train\nformat: 99\ndataset: d\nfingerprint: f\n", "newer version"),
    ("kind: train\nformat: one\ndataset: d\nfingerprint: f\n", "newer version"),
    ("kind: train\ndataset: d\n", "'fingerprint'"),
    ("kind: train\ndataset: d\nfingerprint: f\nsede: 1\n", "'seed'"),
    ("kind: train\ndataset: d\nfingerprint: f\ncodec: {n_latnt: 3}\n", "'codec.n_latent'"),
])
def test_a_broken_file_is_told_with_what_to_do(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScdiffError) as caught:
        from_yaml(write(tmp_path, text))
    assert said in caught.value.why
    assert caught.value.fix


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScdiffError, match="missing"):
        from_yaml(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00kind")
    with pytest.raises(ScdiffError, match="cannot be read"):
        from_yaml(tmp_path / "config.yaml")
