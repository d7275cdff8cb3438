"""Build assets/demo anew: the small model that "Try the demo" shows, with its dataset and its recipe.

`make demo` runs this. It takes a minute or two and needs no network: the cells come with scanpy.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scdiff_core.demo_model import ASSETS, NAME

MODEL_LIMIT = 3_000_000  # bytes
# a small model for 490 cells: narrow enough to ship, and no wider helps with so few
SETTINGS = ["codec.n_latent=24", "codec.hidden=[128]", "diffusion.width=192", "diffusion.depth=3"]
DATASET_FILES = ("prepared.h5ad", "prepare.yaml", "report.json", "markers.csv")
RUN_FILES = ("config.yaml", "metrics.jsonl")


def call(workspace: Path, *words: str) -> dict[str, object]:
    """Run one command of the product and return what its last line says."""
    command = [sys.executable, "-m", "scdiff_core", *words, "--workspace", str(workspace)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    value: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return value


def copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy the files of a job that are worth shipping, with a plain status."""
    target.mkdir(parents=True)
    for name in names:
        shutil.copy(source / name, target / name)
    status = json.loads((source / "status.json").read_text())
    kept = {k: status[k] for k in ("state", "created", "step", "total", "seconds", "phase") if k in status}
    (target / "status.json").write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Prepare, train, and put what is needed to generate into assets/demo."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        call(workspace, "prepare", "demo:pbmc68k", "--name", NAME, "--genes", "all")
        made = call(
            workspace,
            "train",
            NAME,
            "--preset",
            "standard",
            "--name",
            NAME,
            *(w for s in SETTINGS for w in ("--set", s)),
        )
        run = workspace / "runs" / str(made["run"])
        shutil.rmtree(ASSETS, ignore_errors=True)
        copy(workspace / "datasets" / NAME, ASSETS / "dataset", DATASET_FILES)
        copy(run, ASSETS / "run", RUN_FILES)
        checkpoints = ASSETS / "run" / "checkpoints"
        checkpoints.mkdir()
        for name in ("best.safetensors", "reference.safetensors"):  # `last` is for resuming
            shutil.copy(run / "checkpoints" / name, checkpoints / name)
        shutil.copytree(run / "preview", ASSETS / "run" / "preview")
        (ASSETS / "run" / "notes.json").write_text(json.dumps({"title": "Demo: blood cells"}) + "\n")
    size = sum(p.stat().st_size for p in (ASSETS / "run" / "checkpoints").rglob("*") if p.is_file())
    print(
        f"assets/demo: model {size / 1e6:.2f} MB, all of it "
        f"{sum(p.stat().st_size for p in ASSETS.rglob('*') if p.is_file()) / 1e6:.2f} MB"
    )
    if size > MODEL_LIMIT:
        sys.exit(f"The demo's model is larger than {MODEL_LIMIT / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
