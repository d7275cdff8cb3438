"""What the benchmark of the modes of generation learns from: cells with some combinations, types or times held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import stages
from scdiff_core.config import HoldOut, PrepareConfig, Roles
from scdiff_core.data.prepared import Prepared
from scdiff_core.engine.model import Model
from scdiff_core.workspace import JobDir, Workspace

KANG, PANCREAS = "kang_ifnb_counts.h5ad", "pancreas_e15_timecourse.h5ad"
CLUSTERS = ("Ductal", "Ngn3 low", "Ngn3 high", "Pre-endocrine", "Beta", "Alpha", "Delta", "Epsilon")  # by their number
STAGE = (0, 1, 2, 3, 4, 4, 4, 4)  # of each: the known order of differentiation (Bastidas-Ponce et al. 2019)
COMBINATIONS = (("CD14 Mono", "stim"), ("CD4 Naive T", "stim"), ("B", "ctrl"))
CHOOSING = (("CD4 Memory T", "stim"), ("CD16 Mono", "ctrl"), ("NK", "stim"), ("CD14 Mono", "ctrl"), ("B", "stim"),
            ("CD4 Naive T", "ctrl"))
PRESET = "quick"
ARMS = Roles(cell_type="cell_type", perturbation="condition", control="ctrl")


@dataclass(frozen=True)
class Question:
    """What a model is trained for: a file, its columns, and what is held out of it.

    `hold_out` has one tuple of (column, value) pairs for each rule: the cells that have all of them.
    """

    name: str
    file: str
    roles: Roles
    hold_out: tuple[tuple[tuple[str, str], ...], ...] = ()


def _without(name: str, combinations: tuple[tuple[str, str], ...]) -> Question:
    return Question(name, KANG, ARMS, tuple((("cell_type", c), ("condition", s)) for c, s in combinations))


QUESTIONS = {q.name: q for q in (
    _without("combinations", COMBINATIONS),  # three at once, and each alone
    *(_without(f"combination-{i}", (c,)) for i, c in enumerate(COMBINATIONS)),
    # guidance for unseen combinations was chosen on these, and paths on the types below: other cells are held out than
    # those that they are judged by
    *(_without(f"choosing-{i}", (c,)) for i, c in enumerate(CHOOSING)),
    Question("types", PANCREAS, Roles(cell_type="type"), ((("type", "Ngn3 high"),),)),
    Question("time", PANCREAS, Roles(time="stage"), ((("type", "Ngn3 high"),),)),
    Question("types-choosing", PANCREAS, Roles(cell_type="type"),
             ((("type", "Ngn3 low"),), (("type", "Pre-endocrine"),))),
)}


def source(file: str) -> Path:
    """Return a file to prepare: that of the pancreas with its clusters named and staged."""
    import anndata

    path = stages.DATA / file
    if file != PANCREAS:
        return path
    made = stages.CACHE / "modes" / "pancreas_named.h5ad"
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        adata = anndata.read_h5ad(path)
        cluster = adata.obs["clusters"].astype(int).to_numpy()
        adata.obs["type"] = [CLUSTERS[c] for c in cluster]
        adata.obs["stage"] = [float(STAGE[c]) for c in cluster]
        adata.layers.clear()
        adata.write_h5ad(made)
    return made


def prepare(workspace: Workspace, question: Question, seed: int) -> JobDir:
    """Prepare the file of a question with its cells held out, once for each seed of the split."""
    rules = tuple(HoldOut(column=first[0], values=(first[1],),
                          also=tuple(HoldOut(column=c, values=(v,)) for c, v in more))
                  for first, *more in question.hold_out)
    asked = PrepareConfig(source=str(source(question.file)), name="modes", roles=question.roles, hold_out=rules,
                          seed=seed)
    key = stages.digest(asked.model_dump(mode="json", exclude={"source", "name"}), question.file)
    return stages.prepared(workspace, asked.model_copy(update={"name": f"modes-{question.name}-{seed}-{key}"}))[0]


def model_of(workspace: Workspace, question: Question, seed: int, preset_name: str = PRESET,
             settings: tuple[str, ...] = ()) -> tuple[Prepared, JobDir]:
    """Return the prepared cells of a question and a run trained on them.

    What is there already is taken, also where the code has changed since: the weights of the standard path are the same
    from version to version. `.bench/modes` and the folders `modes-*` may be removed to begin anew.
    """
    dataset = prepare(workspace, question, seed)
    prepared = Prepared.open(dataset)
    config = stages.training(prepared, dataset, preset_name, seed, settings)
    key = stages.digest(dataset.id, prepared.fingerprint, preset_name, settings, seed)
    return prepared, stages.learn(workspace, prepared, config, f"modes-{question.name}-{seed}-{key}")[0]


@dataclass(frozen=True, eq=False)
class Asked:
    """A trained model with its cells, its run and what was held out of it."""

    question: Question
    prepared: Prepared
    model: Model
    job: JobDir


def asked(workspace: Workspace, question: Question, seed: int, settings: tuple[str, ...] = ()) -> Asked:
    """Return the model of a question, trained if it is not there."""
    prepared, job = model_of(workspace, question, seed, settings=settings)
    return Asked(question, prepared, Model.load(job, "cpu"), job)
