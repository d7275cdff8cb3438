"""What the Design page copies, put into a file and a shell: the same cells as the page's own, for the same seed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import anndata
import pandas as pd
import pytest
import torch
from design_page import paste
from fake_design import FakeWorker
from test_ui_pages import open_page

from pages._design import ask
from pages._design import draft as drafts
from scdiff_core import cli, demo_model
from scdiff_core import target as targets
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine import outputs
from scdiff_core.engine.worker import Service
from scdiff_core.workspace import Workspace


def test_the_copied_command_and_target_make_the_page_s_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    space = Workspace(tmp_path / "w")
    dataset, run = demo_model.install(space)
    monkeypatch.setenv("SCDIFF_WORKSPACE", str(space.root))
    monkeypatch.chdir(tmp_path)
    fake = FakeWorker(Prepared.open(dataset))
    for name in ("submit", "under_way", "forget"):
        monkeypatch.setattr(f"pages._shared.worker.{name}", getattr(fake, name))
    copied: dict[str, str] = {}
    monkeypatch.setattr(ask, "copy_button", lambda text, key, label="Copy": copied.update({label: text}))

    at = paste(open_page("design", dataset=dataset.id, run=run.id, design_seed=3, design_advanced=True),
               "CD79A up, CST3 down 1.5")
    at = next(n for n in at.number_input if n.label == "How many cells").set_value(24).run()
    assert not at.exception and not at.error
    draft = at.session_state[f"design-draft-{run.id}"].present
    assert targets.parse(drafts.yaml.safe_load(copied["Copy as YAML"])) == draft.target()
    at.button(key="design").click().run()
    asked = next(v for op, v in fake.asked if op == "design")
    made = tmp_path / "page"
    Service(space).answer("design", {**asked, "out_dir": str(made)}, lambda words, share: None)

    (tmp_path / "target.yaml").write_text(copied["Copy as YAML"])
    python, dash, module, *words = shlex.split(copied["Copy as command"])
    assert [python, dash, module] == ["python", "-m", "scdiff_core"] and "--seed" in words
    assert cli.main([*words, "--workspace", str(space.root)]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["met"] == 24
    theirs, ours = anndata.read_h5ad(made / outputs.CELLS), anndata.read_h5ad(tmp_path / "designed.h5ad")
    assert ours.n_obs == 24 and (theirs.X != ours.X).nnz == 0
    pd.testing.assert_frame_equal(theirs.obs, ours.obs)
