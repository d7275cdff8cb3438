"""A run while it trains: progress, loss curves, and generated cells growing into the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages._shared import context
from pages._shared.cell_canvas import Layer, cell_canvas
from pages._shared.job_panel import progress_line
from pages._shared.words import duration
from scdiff_core.figures.palette import colours
from scdiff_core.jobs import Status
from scdiff_core.workspace import JobDir, read_json

PHASES = {
    "codec": "First: describe each cell in a few numbers",
    "diffusion": "Then: make new cells from them",
    "sets": "Then: move a set of cells as a perturbation does",
}
POINTS = 500  # a curve shows no more than this


@st.cache_data(max_entries=8, show_spinner=False)
def _arrays(path: str, modified: float) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {k: arrays[k] for k in arrays.files}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a small .npz file, kept while it is unchanged."""
    return _arrays(str(path), path.stat().st_mtime)


def show_numbers(status: Status, rows: list[dict[str, Any]]) -> None:
    """Draw the bar and the row of figures under it."""
    if status.active:
        progress_line(status)
    last = rows[-1] if rows else {}
    cells = [
        ("Step", f"{status.step:,} of {status.total:,}" if status.total else "not begun"),
        ("Time so far", duration(status.seconds)),
        ("Time left", duration(status.eta_s) if status.active else "none"),
        ("Speed", f"{last['cells_per_s']:,.0f} cells/s" if last.get("cells_per_s") else "unknown"),
        ("Memory", f"{last['memory_mb']:,.0f} MB" if last.get("memory_mb") else "unknown"),
        ("Device", str(last.get("device") or "not chosen yet")),
    ]
    with st.container(horizontal=True, gap="medium", key="run_numbers"):
        for label, value in cells:
            st.markdown(f":gray[{label}]  \n**{value}**", width="content")


def _move(key: str, snapshots: list[int]) -> None:
    st.session_state[f"{key}-follow"] = st.session_state[key] == snapshots[-1]


def choose_snapshot(run: JobDir, snapshots: list[int]) -> int:
    """Draw the slider over the snapshots so far; at its right end it follows the newest."""
    key = f"snapshot-{run.id}"
    if st.session_state.get(f"{key}-follow", True) or st.session_state.get(key) not in snapshots:
        st.session_state[key] = snapshots[-1]
    if len(snapshots) == 1:
        st.caption(f"First snapshot, at step {snapshots[0]:,}.")
        return snapshots[0]
    return st.select_slider(
        "Snapshot (training step)",
        snapshots,
        key=key,
        on_change=_move,
        args=(key, snapshots),
        help="Drag back to see how the cells looked earlier. At the right end it follows the run.",
    )


def show_cells(run: JobDir, active: bool) -> None:
    """Draw the generated cells of a snapshot over the real ones."""
    index = read_json(run.preview / "index.json", {})
    snapshots = [int(s) for s in index.get("snapshots", [])]
    if not (run.preview / "real.npz").exists() or not snapshots:
        if context.task_of(run) == "perturb":
            when = " as soon as it is trained" if active else ""
            st.info(f"This model predicts perturbations: its cells are on the Perturb page{when}.")
            st.page_link("pages/perturb.py", label="Go to Perturb", icon=":material/arrow_forward:")
        elif active:
            st.info("The model first learns to describe cells; generated ones appear when the second half begins.")
            st.skeleton(height=420)
        else:
            st.info("No snapshots of this run were kept.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        with st.container(width=360):
            step = choose_snapshot(run, snapshots)
        place = st.segmented_control(
            "Map", ["UMAP", "PCA"], default="UMAP", required=True, key="live_map", persist_state="session"
        )
        by = st.segmented_control(
            "Generated cells by",
            ["Type asked for", "Distance to real"],
            default="Type asked for",
            required=True,
            key="live_colour",
            persist_state="session",
        )
    real = arrays_of(run.preview / "real.npz")
    file = run.preview / f"snap_{step}.npz"
    if not file.exists():
        st.info("This snapshot was removed.")
        return
    snap = arrays_of(file)
    xy, pca = ("xy", "pca2")
    field = xy if place == "UMAP" else pca
    names = [str(n) for n in json.loads(str(real["names"]))]
    distance = by == "Distance to real"
    layers = [
        Layer("real", real[field], shape="dot", codes=real["codes"], grey=True),
        Layer(
            "generated",
            snap[field],
            shape="ring",
            codes=None if distance else snap["codes"],
            values=snap["distance"] if distance else None,
            hover={"distance to real": snap["distance"]},
        ),
    ]
    cell_canvas(
        layers,
        key=f"live-{run.id}-{place}",
        height=540,
        categories=names,
        palette=colours(len(names)),
        colour_title="distance to real" if distance else "cell type",
        value_range=(0.0, float(np.nanmax(snap["distance"]))) if distance else None,
        summary=f"{place} of {len(snap['xy']):,} generated cells at step {step:,} over {len(real['xy']):,} real cells",
    )
    if place == "UMAP":
        st.caption(
            "While training, a generated cell is placed among its nearest real cells, which flatters it: "
            "look at the distance to real, and at PCA. Finished results use the true map."
        )


def smooth(values: np.ndarray, strength: float) -> np.ndarray:
    """Return an exponential moving average, corrected for its start; strength 0 leaves the values alone."""
    if strength <= 0 or values.size == 0:
        return values
    out, mean, weight = np.empty_like(values, dtype=float), 0.0, 0.0
    for i, value in enumerate(values):
        mean = strength * mean + (1 - strength) * value
        weight = strength * weight + (1 - strength)
        out[i] = mean / weight
    return out


def curve_spec(rows: list[dict[str, Any]], strength: float, log: bool) -> dict[str, Any]:
    """Return the ECharts description of the loss curves of one phase."""
    series = []
    for field, name, dash in (("loss_train", "training cells", "solid"), ("loss_test", "held-out cells", "dashed")):
        points = [(r["step"], r[field]) for r in rows if r.get(field) is not None]
        if not points:
            continue
        x, y = np.array(points, float).T
        y = smooth(y, strength if field == "loss_train" else 0.0)
        keep = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int))
        series.append(
            {
                "type": "line",
                "name": name,
                "showSymbol": len(keep) < 3,
                "animation": False,
                "lineStyle": {"type": dash, "width": 2},
                "data": [[int(x[i]), float(f"{y[i]:.5g}")] for i in keep],
            }
        )
    return {
        "animation": False,
        "grid": {"left": 64, "right": 16, "top": 36, "bottom": 46},
        "legend": {"top": 4},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": "step",
            "nameLocation": "middle",
            "nameGap": 28,
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {"type": "log" if log else "value", "scale": True, "name": "error",
                  "min": "dataMin", "max": "dataMax"},
        "dataZoom": [{"type": "inside"}],
        "series": series,
    }


def show_curves(rows: list[dict[str, Any]], key: str) -> None:
    """Draw the loss curves of each phase, on the training and on the held-out cells."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        with st.container(width=280):
            strength = st.slider("Smoothing", 0.0, 0.98, 0.6, 0.02, key="loss_smoothing", persist_state="session")
        log = st.toggle("Log axis", value=True, key="loss_log", persist_state="session")
    phases = [p for p in PHASES if any(r.get("phase") == p for r in rows)]
    if not phases:
        st.info("The curves begin with the first steps.")
        return
    for place, phase in zip(st.columns(len(phases)), phases, strict=True):
        own = [r for r in rows if r.get("phase") == phase]
        values = [r[f] for r in own for f in ("loss_train", "loss_test") if r.get(f) is not None]
        positive = bool(values) and min(values) > 0
        with place:
            st.markdown(f"**{PHASES[phase]}**")
            st.echarts_chart(
                curve_spec(own, strength, log and positive),
                height=380,
                key=f"{key}-{phase}",
                alt=f"{PHASES[phase]}: error on training and held-out cells",
            )
            if log and not positive:
                st.caption("Some values are not positive: shown on a plain axis.")


def show_log(run: JobDir) -> None:
    """Show what the run was asked to do and the end of its log."""
    st.markdown("**Settings**")
    st.code((run.path / "config.yaml").read_text(encoding="utf-8", errors="replace"), language="yaml", height=260)
    log = run.path / "log.txt"
    if log.exists():
        st.markdown("**Log**")
        with open(log, "rb") as handle:
            handle.seek(max(0, log.stat().st_size - 8000))
            st.code(handle.read().decode("utf-8", "replace") or "empty", language=None, height=260)
