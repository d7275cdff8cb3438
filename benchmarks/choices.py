"""What the choices of training do to the cells: codec, schedule, prediction, backbone, added loss terms.

    python -m benchmarks.choices [--quick] [--seeds 0 1 2] [--only "as it is" "flow matching"] [--results DIR]

PBMC3k with its 500 most variable genes, the quick preset with smaller minibatches and fewer steps, and one thread.
Rows that differ in the diffusion begin with one and the same autoencoder of their seed, so that the choice alone tells
them apart; the seconds are those of what follows it. All are sampled as by default and scored with the report card's
small forests beside the floor (real training cells) of the same run. Prints the table as markdown and writes
choices.json. The pathways are the Hallmark sets in `knowledge/` of the data folder; without them that row is left out.
What has been made is taken from `.bench/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import quality, stages, tables
from scdiff_core.analysis.choices import SCHEDULE_EXAMPLE, SCHEDULES
from scdiff_core.config import PrepareConfig
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, Workspace, write_json, write_text

PATHWAYS = stages.DATA / "knowledge" / "hallmark_v7.5.1.symbols.gmt"
DEFAULT = "as it is"
CHOICES: dict[str, tuple[str, ...]] = {
    DEFAULT: (),
    "codec: PCA": ("codec.kind=pca",),
    "codec: genes themselves": ("codec.kind=genes",),
    "schedule: linear": ("diffusion.schedule=linear",),
    "schedule: cosine": ("diffusion.schedule=cosine",),
    "schedule: EDM": ("diffusion.schedule=edm",),
    "flow matching (its schedule and velocity)": ("diffusion.schedule=flow",),
    "prediction: eps": ("diffusion.prediction=eps",),
    "prediction: x0": ("diffusion.prediction=x0",),
    "prediction: v": ("diffusion.prediction=v",),
    "schedule of one's own (the documented example)": ("diffusion.schedule=custom",
                                                      "diffusion.schedule_file=example.py", "run_code=true"),
    "numbers of half the length (bf16, on the processor)": ("precision=bf16",),
    "backbone: transformer over programs": ("diffusion.backbone=transformer",),
    "term: sparsity 0.1": ("diffusion.terms.sparsity=0.1",),
    "term: pathways 1": ("diffusion.terms.pathways=1", f"diffusion.terms.gene_sets=[{str(PATHWAYS)!r}]"),
    "term: MMD 1": ("diffusion.terms.mmd=1",),
    "PCA with non-negativity 10": ("codec.kind=pca", "diffusion.terms.non_negativity=10"),
}
GENES = 500
CODEC = ("diffusion.steps=1",)  # of the run whose autoencoder the others begin with
QUIET = ("preview_every_s=100000",)
SMALL = ("diffusion.steps=400", "diffusion.minibatch=128")
FIGURES = ("rf_genes", "rf_pca", "mmd", "energy", "zero_share", "gene_variance", "precision", "recall",
           "label_agreement")
TRY = ("codec.steps=30", "diffusion.steps=30")


def settings_of(workspace: Workspace, dataset: JobDir, seed: int, settings: tuple[str, ...],
                more: tuple[str, ...]) -> tuple[str, ...]:
    """Return all settings of a choice: with the autoencoder of its seed, unless it has another codec."""
    if any(s.startswith("codec.") for s in settings):
        return (*settings, *QUIET, *SMALL, *more)
    first, _ = stages.train(workspace, dataset, "quick", seed, (*QUIET, *more, *CODEC))
    same = (f"codec.start_from={first.path.resolve()}", "codec.steps=1", "codec.lr=1e-12")
    return (*settings, *QUIET, *SMALL, *more, *same)


def measure(workspace: Workspace, source: Path, chosen: dict[str, tuple[str, ...]], seeds: list[int],
            more: tuple[str, ...], results: Path) -> list[dict[str, Any]]:
    """Return the results of every choice, seed by seed; what is there already is written after each."""
    name = source.name.split(".")[0]
    dataset, _ = stages.prepared(workspace, PrepareConfig(source=str(source), name=f"choices-{name}", genes=GENES))
    write_text(workspace.root / SCHEDULES / "example.py", SCHEDULE_EXAMPLE)
    done: list[dict[str, Any]] = []
    for seed in seeds:
        for title, settings in chosen.items():
            stages.say(f"{name}: {title}, seed {seed}")
            asked = settings_of(workspace, dataset, seed, settings, more)
            run, train_s = stages.train(workspace, dataset, "quick", seed, asked)
            cells, generate_s = stages.generate(dataset, run, seed)
            done.append({"dataset": name, "kind": "preset", "method": title, "title": title, "seed": seed,
                         "settings": [s.replace(str(PATHWAYS), PATHWAYS.name) for s in settings],
                         "train_s": round(train_s, 2), "generate_s": round(generate_s, 2),
                         "report": stages.score(dataset, cells, seed, thorough=False)})
            write_json(results / "choices.json", {"about": quality.about(seeds), "results": done})
    return done


def text(results: list[dict[str, Any]]) -> str:
    """Return the section as markdown; choices keep their order, the default first."""
    n = results[0]["report"]["n_cells"]
    return "\n\n".join([
        f"## Choices: {results[0]['dataset']}",
        f"{n:,} cells a side, {GENES} genes, mean (± standard deviation) of {quality.seeds_of(results)}; small "
        "forests. Rows of one codec share its weights: the choice alone differs, and the seconds are those of what "
        "follows the codec. The floor is real training cells in the place of generated ones.",
        tables.ideas(results, FIGURES)])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="What the choices of training do to the cells.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CHOICES), default=None, help="these choices alone")
    parser.add_argument("--results", type=Path, default=stages.RESULTS, help="the folder for the JSON file")
    parser.add_argument("--quick", action="store_true", help="one seed and a few steps: only to try it")
    asked = parser.parse_args()
    chosen = {k: v for k, v in CHOICES.items() if asked.only is None or k in asked.only}
    if not PATHWAYS.is_file():
        chosen.pop("term: pathways 1", None)
        stages.say(f"There are no gene sets at {PATHWAYS}: the term for pathways is not measured.")
    sources = stages.paths_of(stages.DATASETS[:1])
    if not sources:
        sys.exit("There is nothing to measure. Set SCDIFF_TEST_DATA.")
    try:
        results = measure(Workspace(stages.CACHE), sources[0], chosen, [0] if asked.quick else asked.seeds,
                          TRY if asked.quick else (), asked.results)
    except ScdiffError as error:
        sys.exit(str(error))
    print(text(results), flush=True)


if __name__ == "__main__":
    main()
