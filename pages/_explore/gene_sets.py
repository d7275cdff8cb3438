"""Gene sets that people bring along (`.gmt`, or a pasted list), and the score of each cell for one of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import streamlit as st

from pages._data.options import names_in
from pages._explore.scene import SET, Scene
from pages._explore.state import key
from pages._shared import context, uploads, worker
from pages._shared.trouble import escape, kept, show_kept
from pages._shared.words import plural
from scdiff_core.analysis.gene_sets import decode_gmt, read_gmt
from scdiff_core.errors import ScdiffError
from scdiff_core.workspace import write_text

OWN = "pasted.gmt"  # lists that were pasted, one a line


def folder() -> Path:
    """Return where the gene sets of the workspace lie."""
    return context.workspace().root / "gene_sets"


def place(given: uploads.Given, ending: str = ".gmt") -> Path:
    """Return where a file of gene sets or regulons that was brought is kept; raises `ScdiffError` if too large."""
    return uploads.place(given, folder(), ending, largest=20 * uploads.MB,
                         fix="Take a file of at most 20 MB, for example one collection of MSigDB.")


@st.cache_data(max_entries=16, show_spinner=False)
def _read(path: str, modified: float) -> dict[str, tuple[str, ...]]:
    return read_gmt(Path(path).read_text(encoding="utf-8"))


def known() -> dict[str, tuple[str, ...]]:
    """Return every gene set of the workspace: name -> genes. A file that cannot be read is left out."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder().glob("*.gmt")) if folder().is_dir() else []:
        try:
            found |= _read(str(path), path.stat().st_mtime)
        except (ScdiffError, OSError, UnicodeDecodeError):
            continue
    return found


def _take_file(scene: Scene) -> None:
    given = st.session_state.get(key(scene, "gmt"))
    if given is None:
        return
    with kept("gmt_trouble"):
        path = place(given)
        text = given.getvalue()
        sets = decode_gmt(text)
        write_text(path, text.decode("utf-8-sig"))
        st.session_state["gmt_taken"] = f"{plural(len(sets), 'gene set')} of '{given.name}' can be chosen now."
        if len(sets) == 1:
            st.session_state[key(scene, "colour")] = SET + next(iter(sets))


def _take_list(scene: Scene) -> None:
    name = " ".join(str(st.session_state.get(key(scene, "set_name")) or "").split()) or "my genes"
    genes = names_in(st.session_state.get(key(scene, "set_genes")) or "")
    path = folder() / OWN
    with kept("gmt_trouble"):
        if not genes:
            raise ScdiffError("There is no gene set yet.", "The list is empty.", "Paste some genes, one a line.")
        before = _read(str(path), path.stat().st_mtime) if path.exists() else {}
        both = {**before, name: tuple(genes)}
        write_text(path, "".join("\t".join([n, "pasted", *g]) + "\n" for n, g in both.items()))
        st.session_state[key(scene, "colour")] = SET + name


def bring(scene: Scene) -> None:
    """Draw where gene sets are brought in."""
    st.file_uploader("A file of gene sets (.gmt)", key=key(scene, "gmt"), on_change=_take_file, args=(scene,),
                     type=["gmt", "txt"])
    if said := st.session_state.get("gmt_taken"):
        st.caption(f":material/check: {escape(said)} Find them under *Colour by*, as `gene set: …`.")
    with st.form(key(scene, "set_form"), border=False):
        st.text_input("Or a list of your own: its name", key=key(scene, "set_name"), placeholder="Interferon")
        st.text_area("Genes", key=key(scene, "set_genes"), placeholder="ISG15, IFI6\nIFIT1", height=100)
        st.form_submit_button("Colour by this list", on_click=_take_list, args=(scene,),
                              help="Cells are coloured by how strongly they show the whole list.")
    show_kept("gmt_trouble")


def scores(scene: Scene, name: str) -> dict[str, np.ndarray] | None:
    """Return the scores of all cells for a gene set, None while the worker still reckons them.

    Raises
    ------
    ScdiffError
        None of its genes is in the dataset.
    """
    genes = known().get(name.removeprefix(SET), ())
    text = "\n".join([scene.prepared.fingerprint, *scene.sources, *genes])
    mark = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    out = scene.job.path / "scores" / mark
    files = {s: out / f"{s.replace('/', '__')}.npy" for s in scene.sources}
    if all(f.exists() for f in files.values()):
        return {s: np.load(f, allow_pickle=False) for s, f in files.items()}
    asked = worker.under_way(f"score-{mark}") or worker.submit(
        f"score-{mark}", "score", dataset=scene.job.id, fingerprint=scene.prepared.fingerprint,
        sources=list(scene.sources), name=name.removeprefix(SET), genes=list(genes), out_dir=str(out))
    said = asked.look(0.6)
    if not asked.ended:
        _wait(mark)
        return None
    worker.forget(f"score-{mark}")
    if said.get("error"):
        raise ScdiffError(**said["error"])
    if said.get("missing"):
        st.toast(f"{plural(len(said['missing']), 'gene')} of this set are not in the dataset.", icon=":material/info:")
    return {s: np.load(f, allow_pickle=False) for s, f in files.items()}


def _wait(mark: str) -> None:
    @st.fragment(run_every=0.5, key=f"score-{mark}")
    def beat() -> None:
        asked = worker.under_way(f"score-{mark}")
        if asked is None or (asked.look() and asked.ended):
            st.rerun(scope="app")
        st.caption(":material/hourglass_top: Scoring the cells…")

    beat()
