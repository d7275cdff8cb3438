"""The choices of a training that a knowing user expects: model, noise, added loss terms, and the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from pages._shared import context, uploads
from pages._shared.trouble import kept, show_kept
from scdiff_core.analysis.choices import SCHEDULE_EXAMPLE, SCHEDULES
from scdiff_core.analysis.gene_sets import decode_gmt
from scdiff_core.config import CodecConfig, DiffusionConfig
from scdiff_core.workspace import atomic_write

CODECS = {"vae": "Autoencoder (best)", "pca": "PCA (instant)", "genes": "None: the genes"}
BACKBONES = {"mlp": "Residual MLP", "transformer": "Transformer over gene programs"}
KINDS = {"standard": "Standard", "linear": "Linear (DDPM)", "cosine": "Cosine", "edm": "EDM (Karras)",
             "flow": "Flow matching", "custom": "My own, from a file"}
PREDICTIONS = {"auto": "Goes with the schedule", "edm": "EDM's mixture", "eps": "The noise (eps)",
               "x0": "The clean cell (x0)", "v": "Velocity (v)", "flow": "Velocity of the flow"}
PRECISIONS = {"auto": "bf16 on NVIDIA, else fp32", "fp32": "fp32", "bf16": "bf16"}
SETS_FOLDER = "gene_sets"  # of the workspace
LARGEST = 20 * uploads.MB


def model(name: str, codec: CodecConfig, diffusion: DiffusionConfig, whole: bool) -> tuple[dict[str, Any],
                                                                                            dict[str, Any]]:
    """Draw the choices of codec and network; returns fields of the codec and of the diffusion.

    `whole` says whether all are on offer: a model of perturbations has another network.
    """
    kinds = list(CODECS)[: 3 if whole else 2]
    kind = st.selectbox("Codec", kinds, index=kinds.index(codec.kind), key=f"codec-{name}",
                        format_func=CODECS.__getitem__,
                        help="How a cell becomes a short code, and the code a cell again. The autoencoder has a model "
                             "of counts; PCA is less true to the zeros; without a codec the diffusion is of the genes "
                             "themselves, which is far less true.")
    if not whole:
        return {"kind": kind}, {}
    out: dict[str, Any] = {"kind": kind}
    runs = {r.id: context.title_of(r) for r in context.workspace().list("train")
            if (r.checkpoints / "best.safetensors").exists()}
    if runs and kind == "vae":
        begin = st.selectbox("Begin with the codec of", ["", *runs], key="train_start_from", persist_state="session",
                             format_func=lambda v: runs.get(v, "nothing: learn anew"),
                             help="A run with the same codec settings, such as one on a large atlas. Genes are matched "
                                  "by name; at least half of yours have to be among its own.")
        out["start_from"] = begin or None
    backbone = st.selectbox("Network", list(BACKBONES), key=f"backbone-{name}", format_func=BACKBONES.__getitem__,
                            help="What learns to take noise away. The transformer lets programs of genes look at one "
                                 "another; it takes longer.")
    more: dict[str, Any] = {"backbone": backbone}
    if backbone == "transformer":
        first, second = st.columns(2)
        more["programs"] = int(first.number_input("Programs", 2, 256, diffusion.programs, key=f"programs-{name}",
                                                  help="How many tokens a cell is read as."))
        more["program_width"] = int(second.number_input("Width", 8, 512, diffusion.program_width, 4,
                                                        key=f"program_width-{name}", help="Numbers a program."))
    return out, more


def noise(name: str) -> tuple[dict[str, Any], bool]:
    """Draw the choices of noise; returns fields of the diffusion, and whether a file of code may run."""
    schedule = st.selectbox("Noise schedule", list(KINDS), key=f"schedule-{name}",
                            format_func=KINDS.__getitem__,
                            help="Which amounts of noise are learnt, and which are gone through in sampling.")
    out: dict[str, Any] = {"schedule": schedule}
    allowed = False
    if schedule == "custom":
        folder = context.workspace().root / SCHEDULES
        files = sorted(p.name for p in folder.glob("*.py")) if folder.is_dir() else []
        if files:
            file = st.selectbox("File", files, key=f"schedule_file-{name}")
            out["schedule_file"] = file
            with st.popover("Read it", icon=":material/code:"):
                st.code((folder / file).read_text(encoding="utf-8", errors="replace"), language="python")
            allowed = st.toggle("Run this file", key=f"run_code-{name}",
                                help="Code can do anything that you can: allow it only if you have read it.")
        else:
            st.caption(f"No file yet. Put one into `{SCHEDULES}` of the workspace: a class `Schedule` whose "
                       "`__call__(self, t)` returns alpha and sigma.")
            st.code(SCHEDULE_EXAMPLE, language="python")
    out["prediction"] = st.selectbox("Prediction", list(PREDICTIONS), key=f"prediction-{name}",
                                     format_func=PREDICTIONS.__getitem__,
                                     help="What it is asked for, and so how errors at each amount of noise weigh.")
    return out, allowed


def _take() -> None:
    given = st.session_state.get("loss_file")
    if given is None:
        return
    with kept("loss_trouble"):
        path = uploads.place(given, context.workspace().root / SETS_FOLDER, ".gmt", largest=LARGEST,
                             fix="Take a file of at most 20 MB, for example one collection of MSigDB.")
        decode_gmt(given.getvalue())
        atomic_write(path, lambda p: p.write_bytes(given.getvalue()))
        st.session_state["loss_sets"] = sorted({*st.session_state.get("loss_sets", []), path.name})


def terms(name: str, kind: str, counts: bool) -> dict[str, Any]:
    """Draw the weights of the added loss terms; returns fields of `LossTerms`."""
    st.caption("All off: on blood cells none made cells truer by more than chance.")
    first, second = st.columns(2)

    def weight(place: Any, label: str, field: str, words: str, off: bool = False) -> float:
        return float(place.number_input(label, 0.0, 1000.0, 0.0, 0.1, key=f"term_{field}-{name}", help=words,
                                        disabled=off)) * (not off)

    out: dict[str, Any] = {
        "sparsity": weight(first, "Sparsity", "sparsity", "Mean expression of the denoised cells: pulls it to zero."),
        "mmd": weight(second, "MMD", "mmd", "Distance between denoised and real codes as wholes."),
        "non_negativity": weight(
            first, "Not below zero", "non_negativity", "Squared expression below zero. The count model of the "
            "autoencoder is never below zero, so this is for other codecs.", kind == "vae" and counts),
        "pathways": weight(second, "Pathways", "pathways", "How far the mean over each gene set is from the real "
                           "cell's."),
    }
    if out["pathways"] > 0:
        st.caption("Choose, or bring, the gene sets that cells are held to.")
        folder = context.workspace().root / SETS_FOLDER
        found = {p.name: p for p in sorted(folder.glob("*.gmt"))} if folder.is_dir() else {}
        chosen = st.multiselect("Gene sets", list(found), key="loss_sets", persist_state="session",
                                help="Files of gene sets; sets with fewer than 3 of your genes are left out.")
        with st.popover("Bring a .gmt", icon=":material/upload_file:"):
            st.file_uploader("Gene sets (.gmt)", key="loss_file", type=["gmt"], on_change=_take)
            show_kept("loss_trouble")
        out["gene_sets"] = tuple(str(Path(found[n]).absolute()) for n in chosen if n in found)
    return out


def machine() -> dict[str, Any]:
    """Draw how the machine is used; returns fields of `TrainConfig`."""
    out: dict[str, Any] = {"device": st.selectbox(
        "Device", ["auto", "cpu", "cuda", "mps"], key="train_device",
        format_func={"auto": "the best there is", "cpu": "processor (CPU)", "cuda": "NVIDIA GPU (CUDA)",
                     "mps": "Apple GPU (MPS)"}.__getitem__)}
    out["precision"] = st.selectbox("Precision", list(PRECISIONS), key="train_precision",
                                    format_func=PRECISIONS.__getitem__,
                                    help="bf16 is quicker on recent GPUs; weights and sums stay in fp32.")
    out["gradient_checkpointing"] = st.toggle(
        "Save memory", key="train_recompute", help="Gradient checkpointing: goes through the network's blocks twice "
        "instead of keeping them. The model is the same; a step takes longer.")
    out["compile"] = st.toggle("Compile the network", key="train_compile",
                               help="torch.compile: a minute at the start, then quicker steps on a GPU. Without a "
                                    "compiler it goes on as it is.")
    st.caption("Several GPUs, from a terminal: `torchrun --nproc-per-node 2 -m scdiff_core train …`")
    return out
