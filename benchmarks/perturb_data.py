"""What the benchmark of perturbations is asked about: data sets, prepared fold by fold, and what each holds out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import stages
from scdiff_core import keys
from scdiff_core.analysis.perturb import embeddings, splits
from scdiff_core.analysis.perturb.card import Bench
from scdiff_core.config import QC, HoldOut, PerturbConfig, PrepareConfig, Roles
from scdiff_core.data import embed
from scdiff_core.data.prepared import Prepared
from scdiff_core.data.vocab import as_labels
from scdiff_core.workspace import JobDir, Workspace

NORMAN, KANG = "norman_mcfaline_lognorm.h5ad", "kang_ifnb_counts.h5ad"
KANG_TYPES = ("B", "CD14 Mono", "CD4 Memory T", "CD4 Naive T")
GENE_SETS = ("enrichr_GO_BP_2021.gmt", "reactome_human_v2025.gmt", "hallmark_v7.5.1.symbols.gmt")
REGULONS = "dorothea_human_ABC.tsv"
FEW = 0.001  # share of seen cells that `prepare` keeps back; they are given back afterwards


@dataclass(frozen=True)
class Case:
    """One data set, as a file with its columns named."""

    name: str
    file: Path
    roles: Roles
    genes: int | str = "all"

    @cached_property
    def adata(self) -> Any:
        """The cells as they are in the file."""
        import anndata

        return anndata.read_h5ad(self.file)

    @cached_property
    def table(self) -> splits.Table:
        """The conditions of its cells."""
        return splits.Table.of(self.adata.obs, self.roles)


@dataclass(frozen=True)
class Task:
    """One fold, ready: what was learnt from, what is asked for, and the truth of it."""

    case: Case
    fold: splits.Fold
    dataset: JobDir
    prepared: Prepared = field(repr=False)

    @cached_property
    def bench(self) -> Bench:
        """Its cells laid out to judge predictions, with what gene sets know of all perturbed genes."""
        made = Bench(self.prepared)
        return replace(made, vectors=vectors(tuple(sorted({t for c in made.table.conditions for t in c[0].targets}))))


@lru_cache
def gene_sets() -> embeddings.Embedding:
    """Return the gene sets that stand ready, as vectors of genes."""
    from scdiff_core.analysis.gene_sets import read_gmt

    sets: dict[str, tuple[str, ...]] = {}
    for name in GENE_SETS:
        sets |= read_gmt((stages.DATA / "knowledge" / name).read_text(encoding="utf-8"))
    return embeddings.from_gene_sets(sets)


def knowledge() -> PerturbConfig:
    """Return the settings of a training run that name the files of gene sets and regulons."""
    folder = stages.DATA / "knowledge"
    return PerturbConfig(gene_sets=tuple(str(folder / name) for name in GENE_SETS), regulons=(str(folder / REGULONS),))


@lru_cache
def vectors(targets: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the vectors of those of the perturbed genes that gene sets know."""
    table = gene_sets()
    return {t: table.vectors[row] for t in targets if (row := table.row(t)) is not None}


def norman() -> Case:
    """The k562 cells of Norman 2019: 18 single perturbations, 15 pairs, and control."""
    return _part("norman-k562", NORMAN, lambda obs: obs["cell_type"] == "k562",
                 Roles(perturbation="condition", control="control"))


def mcfaline() -> Case:
    """The three lines of McFaline 2023: nine perturbations that hardly do anything."""
    return _part("mcfaline", NORMAN, lambda obs: obs["cell_type"] != "k562",
                 Roles(perturbation="condition", control="control", cell_type="cell_type"))


def kang() -> Case:
    """Kang 2018: one stimulus in 13 types, 2,000 genes."""
    roles = Roles(perturbation="condition", control="ctrl", cell_type="cell_type")
    return Case("kang", stages.DATA / KANG, roles, 2000)


def demo(seed: int = 0) -> Case:
    """The simulated experiment, whose truth is known."""
    from scdiff_core.data.simulate import simulate

    path = stages.CACHE / "perturb" / f"demo-{seed}-{stages.source_hash(('data/simulate.py',))}.h5ad"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        simulate(seed=seed).write_h5ad(path)
    return Case(f"demo-{seed}", path, Roles(perturbation=keys.PERTURBATION, control="control", dose=keys.DOSE,
                                            cell_type=keys.CELL_TYPE, batch=keys.BATCH))


def _part(name: str, source: str, chosen: Any, roles: Roles) -> Case:
    """Write some cells of a file to one of their own, once."""
    import anndata

    origin = stages.DATA / source
    path = stages.CACHE / "perturb" / f"{name}-{hashlib.sha256(origin.read_bytes()).hexdigest()[:12]}.h5ad"
    if not path.is_file():
        adata = anndata.read_h5ad(origin)
        path.parent.mkdir(parents=True, exist_ok=True)
        adata[chosen(adata.obs).to_numpy()].copy().write_h5ad(path)
    return Case(name, path, roles)


def prepare(workspace: Workspace, case: Case, fold: splits.Fold | None, fresh: bool = False) -> Task:
    """Prepare a case as the app does, with the fold's cells held out; nothing else is filtered.

    Everything is fitted on the cells that may be learnt from, and these are all the others: the few that `prepare`
    keeps back of seen conditions are given back. Where no genes have to be chosen, one preparation serves all folds.
    """
    rules = _rules(case, fold) if fold is not None and case.genes != "all" else ()
    asked = PrepareConfig(source=str(case.file), name=case.name, roles=case.roles, qc=QC(min_cells_per_gene=0),
                          genes=case.genes, hold_out=rules, test_fraction=FEW)  # type: ignore[arg-type]
    key = stages.digest(case.file.name, asked.model_dump(mode="json", exclude={"source"}),
                        stages.source_hash(("data/prepare.py", "data/genes.py", "data/split.py", "data/recover.py")))
    config = asked.model_copy(update={"name": f"{case.name}-{key}"})
    job, _ = stages.prepared(workspace, config, fresh)
    fold = fold or splits.Fold("nothing", "all seen", (), np.zeros(case.table.n_cells, bool))
    task = Task(case, fold, job, _split(Prepared.open(job), case, fold))
    if fold.test.any():
        _check(task)
    return task


def _split(prepared: Prepared, case: Case, fold: splits.Fold) -> Prepared:
    """Return the prepared cells with the fold's as test cells and all others to learn from."""
    position = case.adata.obs.index.get_indexer(prepared.obs.index)
    if (position < 0).any() or len(position) != case.table.n_cells:
        raise SystemExit(f"{case.name}: the prepared cells are not those of the file.")
    obs = prepared.obs.assign(**{keys.SPLIT: np.where(fold.test[position], keys.TEST, keys.TRAIN)})
    seen = prepared.log1p()[np.flatnonzero(~fold.test[position])]
    mean, components = embed.fit_pca(seen, len(prepared.pca_components), 0)
    return replace(prepared, obs=obs, pca_mean=mean, pca_components=components,
                   fingerprint=stages.digest(prepared.fingerprint, np.flatnonzero(fold.test[position]).tolist()))


def _rules(case: Case, fold: splits.Fold) -> tuple[HoldOut, ...]:
    """Return the held-out cells of a fold as the rules that `prepare --hold-out` takes.

    A perturbation of which nothing is left is held out by name, so that cells without a type go with it.
    """
    obs, roles, conditions = case.adata.obs, case.roles, case.table.conditions
    labels, column = as_labels(obs[roles.perturbation]), str(roles.perturbation)
    hidden = {c for c, rows in conditions.items() if fold.test[rows].all()}
    whole = {c[0] for c in hidden if all(other in hidden for other in conditions if other[0] == c[0])}
    names = {label for c in hidden if c[0] in whole for label in np.unique(labels[conditions[c]]).tolist()}
    rules = [HoldOut(column=column, values=tuple(sorted(names)))] if names else []
    for condition in sorted(hidden, key=str):
        if condition[0] not in whole:
            row = conditions[condition][0]
            also = tuple(HoldOut(column=c, values=(as_labels(obs[c])[row],))
                         for c, v in ((roles.cell_type, condition[2]), (roles.dose, condition[1])) if c and v)
            rules.append(HoldOut(column=column, values=(labels[row],), also=also))
    return tuple(rules)


def _check(task: Task) -> None:
    """Stop where a held-out cell would be learnt from, or an asked condition is not there."""
    train = set(task.prepared.rows(keys.TRAIN).tolist())
    for condition in task.fold.asked:
        if condition not in task.bench.table.conditions or train & set(task.bench.table.conditions[condition].tolist()):
            raise SystemExit(f"{task.fold.name}: the cells of {condition[0]} are not held out.")


def folds(part: str, case: Case, seed: int) -> Sequence[splits.Fold]:
    """Return the folds of a part of the benchmark."""
    table = case.table
    if part == "norman-singles":
        return splits.unseen_perturbations(table, 5, seed)
    if part == "norman-pairs":
        return [splits.unseen_pairs(table, seen) for seen in (2, 1, 0)]
    if part == "kang":
        return splits.unseen_types(table, KANG_TYPES)
    raise SystemExit(f"There are no folds of '{part}'.")
