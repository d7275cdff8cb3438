"""What a model of perturbations may learn from besides the cells: gene sets, regulons, own vectors, another run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import streamlit as st

from pages._shared import context, uploads
from pages._shared.trouble import kept, show_kept
from pages._shared.words import plural
from scdiff_core.analysis.perturb import knowledge
from scdiff_core.config import TrainConfig
from scdiff_core.data.prepared import Prepared
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import JobDir, atomic_write, read_json

LARGEST = 500 * uploads.MB  # bytes of a table of vectors
KINDS = {"gene_sets": (".gmt",), "regulons": (".tsv",), "tables": (".csv", ".parquet", ".h5ad")}
WORDS = {".gmt": "gene sets", ".tsv": "regulons", ".csv": "vectors", ".parquet": "vectors", ".h5ad": "vectors"}
SPREADS = {"auto": "whichever is better on held-out perturbations", "moved": "control cells moved by the mean",
           "diffusion": "diffusion"}


def folders() -> tuple[Path, Path]:
    """Return where gene sets and regulons, and where tables of vectors lie."""
    root = context.workspace().root
    return root / "gene_sets", root / "embeddings"


def files() -> list[Path]:
    """Return the files of the workspace that relate perturbations to one another."""
    known = [e for kinds in KINDS.values() for e in kinds]
    return sorted(p for folder in folders() if folder.is_dir() for p in folder.iterdir()
                  if p.suffix.lower() in known and not p.name.startswith("."))


def _take() -> None:
    given = st.session_state.get("knowledge_file")
    if given is None:
        return
    with kept("knowledge_trouble"):
        kind = uploads.ending_of(given)
        folder = folders()[0 if kind in (".gmt", ".tsv") else 1]
        path = uploads.place(given, folder, kind, largest=LARGEST,
                             fix="Keep the rows of the genes that you may want to perturb.")
        with TemporaryDirectory() as away:  # a bad file must not take the place of a good one
            brought = Path(away) / path.name
            brought.write_bytes(given.getvalue())
            knowledge.names_in(brought, regulons=kind == ".tsv")
        atomic_write(path, lambda p: p.write_bytes(given.getvalue()))
        taken = [n for n in st.session_state.get("train_knowledge", []) if n != path.name]
        st.session_state["train_knowledge"] = [*taken, path.name]


def check(config: TrainConfig, prepared: Prepared) -> None:
    """Look into the chosen files before a training begins; raises `ScdiffError` where one is of no use."""
    with st.spinner("Looking into the files"):
        knowledge.check(config.perturb, prepared)


def _pretrained(prepared: Prepared) -> list[JobDir]:
    """Return the runs that can be gone on from: trained on data of as many genes (the worker checks which)."""
    out = []
    for run in context.workspace().list("train"):
        try:
            other = context.workspace().open("prepare", run.config().dataset)
        except ScdiffError:
            continue
        same = read_json(other.path / "report.json", {}).get("n_genes") == prepared.n_genes
        if same and (run.checkpoints / "best.safetensors").exists():
            out.append(run)
    return out


def settings(prepared: Prepared) -> dict[str, Any]:
    """Draw what the model may learn from; returns the fields of `PerturbConfig` they set."""
    found = {p.name: p for p in files()}
    chosen = st.multiselect(
        "What relates genes", list(found), key="train_knowledge", persist_state="session",
        format_func=lambda n: f"{n} ({WORDS[found[n].suffix.lower()]})", placeholder="co-expression alone",
        help="What a perturbation that was never measured is told by: genes that share sets, regulators or vectors are "
             "taken to do alike. Co-expression in your control cells is always used; the data chooses among them.")
    with st.popover("Bring a file", icon=":material/upload_file:", key="knowledge_bring"):
        st.file_uploader("Gene sets (.gmt), regulons (.tsv), or vectors of genes or drugs (.csv, .parquet, .h5ad: one "
                         "row each)", key="knowledge_file", type=["gmt", "tsv", "csv", "parquet", "h5ad"],
                         on_change=_take)
        st.caption("Kept in the workspace. GO, Reactome and Hallmark are at MSigDB; GenePT, scGPT, ESM and "
                   "fingerprints of drugs are tables of vectors.")
        show_kept("knowledge_trouble")
    if chosen:
        st.caption(f"{plural(len(chosen), 'file')} beside the co-expression in control cells.")
    spread = st.selectbox("Cells round the mean", list(SPREADS), format_func=SPREADS.__getitem__, key="train_spread",
                          persist_state="session", help="The mean comes from kernel ridge. The cells round it: the "
                          "diffusion, or control cells moved by that mean.")
    runs = {r.id: context.title_of(r) for r in _pretrained(prepared)}
    out: dict[str, Any] = {"spread": spread}
    if runs:
        other = st.selectbox("Begin with the codec of", ["", *runs], key="train_pretrained", persist_state="session",
                             format_func=lambda v: runs.get(v, "nothing: learn anew"),
                             help="A run on unlabelled cells with the same genes, such as an atlas of the tissue.")
        out["pretrained"] = other or None
    for name, endings in KINDS.items():
        out[name] = tuple(str(found[n]) for n in chosen if n in found and found[n].suffix.lower() in endings)
    return out
