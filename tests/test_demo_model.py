"""The demo in a workspace: put there once, and anew when the product brings another one."""

from __future__ import annotations

from scdiff_core import demo_model
from scdiff_core.workspace import Workspace


def test_a_demo_of_another_version_goes_to_the_trash_and_nothing_else_does(tmp_path):
    space = Workspace(tmp_path)
    _, run = demo_model.install(space)
    config = run.path / "config.yaml"
    shipped = config.read_text()
    run.write_notes(note="mine")
    demo_model.install(space)
    assert run.notes()["note"] == "mine"  # the same version: left alone
    config.write_text(shipped.replace("kl_weight: 1.0", "kl_weight: 0.5"))
    demo_model.install(space)
    assert config.read_text() == shipped
    trashed = list((tmp_path / "trash").iterdir())
    assert len(trashed) == 1 and "kl_weight: 0.5" in (trashed[0] / "config.yaml").read_text()
