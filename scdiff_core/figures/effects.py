"""What a perturbation does, gene by gene: ranked fold changes with their intervals, and programs by their activity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scdiff_core.errors import ScdiffError
from scdiff_core.figures.base import AXIS, STAMP, frame, short_names
from scdiff_core.figures.palette import HIGHER, LOWER, REAL
from scdiff_core.figures.paper import Size, new_figure, save_figure

ROW = 17  # pixels of a gene
MEASURED, PREDICTED = "measured (real cells)", "predicted, 90 % interval"
EXPERIMENT = "90 % of experiments with as many cells"
BAND = "rgba(128,128,128,0.3)"  # on white and on dark
SYMBOLS = {"up": ("triangle-right", ">"), "down": ("triangle-left", "<")}


def ranked_genes(effects: pd.DataFrame, most: int = 15, genes: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the genes of one perturbation that change most surely, the most raised first.

    Sure is the end of the 90 % interval that lies nearer to zero (0 where the interval holds zero); then the fold
    change itself. At most `most` raised and as many lowered ones, or the `genes` that are named.

    Raises
    ------
    ScdiffError
        A column is missing, or no gene has a fold change.
    """
    lacking = [c for c in ("gene", "log2fc", "low", "high") if c not in effects]
    table: pd.DataFrame = effects
    if not lacking:
        table = effects.loc[np.isfinite(effects[["log2fc", "low", "high"]].to_numpy(float)).all(axis=1)]
    if lacking or not len(table):
        raise ScdiffError("The changes cannot be drawn.", f"The table has no column {', '.join(lacking)}."
                          if lacking else "No gene has a predicted change.", "Predict the perturbation again.")
    if genes is not None:
        table = table[table["gene"].isin(list(genes))]
    else:
        change = table["log2fc"].to_numpy(float)
        near = np.where(change > 0, table["low"], -table["high"]).astype(float)
        order = pd.DataFrame({"near": np.maximum(near, 0.0), "size": np.abs(change)}, index=table.index)
        order = order.sort_values(["near", "size"], ascending=False, kind="stable")
        best = table.loc[order.index]
        table = pd.concat([best[best["log2fc"] > 0].head(most), best[best["log2fc"] < 0].head(most)])
    return table.sort_values("log2fc", ascending=False, kind="stable").reset_index(drop=True)


def ranked(effects: pd.DataFrame, *, most: int = 15, genes: Sequence[str] | None = None, title: str = "") -> go.Figure:
    """Return the log2 fold changes of the surest genes with their 90 % intervals, beside the measured ones.

    The intervals are of the true change. A measured one strays by the noise of its cells besides: the wide pale band
    is where an experiment with as many cells would fall, nine times of ten.

    Parameters
    ----------
    effects
        Of one perturbation: gene, log2fc, low, high, and, where real cells were measured, measured_log2fc,
        expected_low and expected_high.
    most
        How many raised and how many lowered genes at most.
    genes
        These genes instead.
    """
    table = ranked_genes(effects, most, genes)
    rows = np.arange(len(table))
    figure = go.Figure()
    low, high = _reach(table)
    wide = _of_experiment(table)
    if wide is not None:
        ends = np.clip(wide, low, high)
        figure.add_scatter(x=ends.mean(axis=1), y=rows, mode="markers", marker={"opacity": 0}, name=EXPERIMENT,
                           error_x={"type": "data", "array": np.ptp(ends, axis=1) / 2, "thickness": 7, "width": 0,
                                    "color": BAND}, hoverinfo="skip", showlegend=False)
        figure.add_scatter(x=[None], y=[None], mode="lines", name=EXPERIMENT, line={"width": 7, "color": BAND})
    for side, above in (("up", True), ("down", False)):
        part = (table["log2fc"] > 0).to_numpy() if above else (table["log2fc"] <= 0).to_numpy()
        if not part.any():
            continue
        some = table[part]
        figure.add_scatter(
            x=some["log2fc"], y=rows[part], mode="markers", name=PREDICTED, legendgroup="predicted",
            showlegend=side == "up" or not (table["log2fc"] > 0).any(),
            marker={"symbol": SYMBOLS[side][0], "size": 9, "color": HIGHER if above else LOWER},
            error_x={"type": "data", "symmetric": False, "array": some["high"] - some["log2fc"],
                     "arrayminus": some["log2fc"] - some["low"], "thickness": 1.4, "width": 3},
            customdata=np.column_stack([some["gene"], some["low"].round(2), some["high"].round(2)]),
            hovertemplate="<b>%{customdata[0]}</b><br>log2 fold change %{x:.2f} (%{customdata[1]} to %{customdata[2]})"
                          "<extra>predicted</extra>")
    measured = _measured(table)
    known = np.isfinite(measured)
    if known.any():
        figure.add_scatter(x=np.clip(measured, low, high)[known], y=rows[known], mode="markers", name=MEASURED,
                           marker={"symbol": "diamond-open", "size": 9, "color": REAL, "line": {"width": 1.6}},
                           customdata=np.column_stack([table["gene"][known], measured[known].round(2)]),
                           hovertemplate="<b>%{customdata[0]}</b><br>log2 fold change %{customdata[1]}"
                                         "<extra>measured</extra>")
    figure.add_vline(x=0, line={"color": AXIS, "width": 1})
    figure.update_xaxes(title=f"log2 fold change against control<br><i>{STAMP}</i>", range=_room(low, high))
    figure.update_yaxes(tickmode="array", tickvals=rows, ticktext=[f"<i>{g}</i>" for g in table["gene"]],
                        range=[len(rows) - 0.4, -0.6], showgrid=False, tickfont={"size": 11})
    head = {"text": title, "font": {"size": 14}, "x": 0.01} if title else None
    return frame(figure, ROW * len(rows) + 130, title=head,
                 legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 1, "xanchor": "right"})


def _reach(table: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the axis: a measured change farther out stands at the edge (a gene that few cells have)."""
    low, high = min(0.0, float(table["low"].min())), max(0.0, float(table["high"].max()))
    spare = 0.4 * max(high - low, 0.1)
    wide = _of_experiment(table)
    others = np.concatenate([_measured(table), wide.ravel()]) if wide is not None else _measured(table)
    others = others[np.isfinite(others)]
    if others.size:
        low = min(low, max(float(others.min()), low - spare))
        high = max(high, min(float(others.max()), high + spare))
    return low, high


def _room(low: float, high: float) -> tuple[float, float]:
    return low - 0.04 * max(high - low, 0.1), high + 0.04 * max(high - low, 0.1)


def _of_experiment(table: pd.DataFrame) -> np.ndarray | None:
    """Return the ends [n, 2] of what an experiment with as many cells would measure; None where nothing was."""
    if "expected_low" not in table:
        return None
    ends = table[["expected_low", "expected_high"]].to_numpy(float)
    return ends if np.isfinite(ends).all() else None


def _measured(table: pd.DataFrame) -> np.ndarray:
    if "measured_log2fc" not in table:
        return np.full(len(table), np.nan)
    return table["measured_log2fc"].to_numpy(float)


def export_ranked(effects: pd.DataFrame, *, most: int = 15, genes: Sequence[str] | None = None, title: str = "",
                  fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `ranked` as a file; arguments as there, `fmt` and `size` as of every figure for a paper."""
    table = ranked_genes(effects, most, genes)
    rows = np.arange(len(table))
    figure, axes = new_figure(3.8, 0.13 * len(rows) + 1.2)
    place = axes[0, 0]
    low, high = _reach(table)
    wide = _of_experiment(table)
    if wide is not None:
        ends = np.clip(wide, low, high)
        place.hlines(rows, ends[:, 0], ends[:, 1], color="#dddddd", linewidth=4, label=EXPERIMENT, zorder=0)
    for side, above in (("up", True), ("down", False)):
        part = (table["log2fc"] > 0).to_numpy() == above
        some = table[part]
        if not len(some):
            continue
        colour = HIGHER if above else LOWER
        place.errorbar(some["log2fc"], rows[part], xerr=[some["log2fc"] - some["low"], some["high"] - some["log2fc"]],
                       fmt=SYMBOLS[side][1], color=colour, markersize=3.6, elinewidth=0.8, capsize=1.6,
                       label=PREDICTED if above or not (table["log2fc"] > 0).any() else None)
    measured = _measured(table)
    known = np.isfinite(measured)
    if known.any():
        place.scatter(np.clip(measured, low, high)[known], rows[known], s=16, marker="D", facecolors="none",
                      edgecolors="#666666", linewidths=0.8, label=MEASURED, zorder=4)
    place.axvline(0, color="#777777", linewidth=0.6)
    place.set(yticks=rows, ylim=(len(rows) - 0.4, -0.6), xlim=_room(low, high), title=title,
              xlabel="log2 fold change against control")
    place.set_yticklabels(table["gene"], style="italic", fontsize=6.5)
    place.legend(loc="lower left", bbox_to_anchor=(0, 1.0 if not title else 1.04), fontsize=6.5, ncols=2)
    return save_figure(figure, fmt, True, size)


def program_order(activity: pd.DataFrame, most: int = 24) -> list[str]:
    """Return the programs [rows] of a table of activities [programs, perturbations], the strongest anywhere, sorted.

    By the largest absolute activity, then from the most raised to the most lowered on average.
    """
    strength = activity.abs().max(axis=1)
    kept = strength.sort_values(ascending=False, kind="stable").index[:most]
    return activity.loc[kept].mean(axis=1).sort_values(ascending=False, kind="stable").index.astype(str).tolist()


def programs(activity: pd.Series, p: pd.Series, *, most: int = 24, alpha: float = 0.05, title: str = "") -> go.Figure:
    """Return bars of the activity of programs (t of a univariate linear model), the strongest of both signs.

    Parameters
    ----------
    activity, p
        t and adjusted p by the programs' names; those with p above `alpha` are drawn pale.
    """
    names, t, sure = _bars(activity, p, most, alpha)
    figure = go.Figure()
    short = short_names(names, 44)
    figure.add_bar(x=t, y=np.arange(len(names)), orientation="h",
                   marker={"color": [HIGHER if v > 0 else LOWER for v in t],
                           "opacity": [1.0 if s else 0.3 for s in sure]},
                   customdata=np.column_stack([names, [f"{p[n]:.2g}" for n in names]]),
                   hovertemplate="<b>%{customdata[0]}</b><br>activity %{x:.2f}, adjusted p %{customdata[1]}"
                                 "<extra></extra>")
    figure.add_vline(x=0, line={"color": AXIS, "width": 1})
    figure.update_xaxes(title=f"activity (t); pale: adjusted p above {alpha:g}<br><i>{STAMP}</i>")
    figure.update_yaxes(tickmode="array", tickvals=np.arange(len(names)), ticktext=[short[n] for n in names],
                        range=[len(names) - 0.4, -0.6], showgrid=False, tickfont={"size": 11})
    return frame(figure, ROW * len(names) + 120, bargap=0.25, showlegend=False,
                 title={"text": title, "font": {"size": 14}, "x": 0.01} if title else None)


def _bars(activity: pd.Series, p: pd.Series, most: int, alpha: float) -> tuple[list[str], list[float], list[bool]]:
    if not len(activity):
        raise ScdiffError("No programs can be drawn.", "No gene set shares enough genes with this data.",
                          "Bring a collection of gene sets for the same organism.")
    names = program_order(activity.to_frame(), most)
    return names, [float(activity[n]) for n in names], [bool(p[n] <= alpha) for n in names]


def export_programs(activity: pd.Series, p: pd.Series, *, most: int = 24, alpha: float = 0.05, title: str = "",
                    fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `programs` as a file; arguments as there."""
    names, t, sure = _bars(activity, p, most, alpha)
    figure, axes = new_figure(4.6, 0.14 * len(names) + 1.0)
    place = axes[0, 0]
    for i, (value, known) in enumerate(zip(t, sure, strict=True)):
        place.barh(i, value, color=HIGHER if value > 0 else LOWER, alpha=1.0 if known else 0.3, height=0.75)
    place.axvline(0, color="#777777", linewidth=0.6)
    short = short_names(names, 48)
    place.set(yticks=np.arange(len(names)), ylim=(len(names) - 0.4, -0.6), title=title,
              xlabel=f"activity (t); pale: adjusted p above {alpha:g}")
    place.set_yticklabels([short[n] for n in names], fontsize=6.5)
    return save_figure(figure, fmt, True, size)


def agreement(effects: pd.DataFrame, *, label: int = 10, height: int = 470) -> go.Figure:
    """Return the predicted against the measured log2 fold change of each gene, with the line of equality.

    Genes whose measured change lies outside of the 90 % interval of what an experiment with as many cells would
    measure (of the true change, where that is not known) are diamonds, the farthest off are named.
    """
    table, limit, r = _agreement(effects)
    figure = go.Figure()
    figure.add_scatter(x=[-limit, limit], y=[-limit, limit], mode="lines", hoverinfo="skip", showlegend=False,
                       line={"color": AXIS, "dash": "dash", "width": 1})
    outside = table["outside"].to_numpy(bool)
    for these, words, marker in (
            (~outside, f"within the interval ({int((~outside).sum()):,})", {"color": REAL, "size": 5, "opacity": 0.6}),
            (outside, f"outside ({int(outside.sum()):,})", {"color": HIGHER, "size": 8, "symbol": "diamond"})):
        if these.any():
            part = table[these]
            figure.add_scatter(x=part["measured_log2fc"], y=part["log2fc"], mode="markers", name=words, marker=marker,
                               text=part["gene"], hovertemplate="<b>%{text}</b><br>measured %{x:.2f}, predicted "
                                                                "%{y:.2f}<extra></extra>")
    off = (table["log2fc"] - table["measured_log2fc"]).abs().where(table["outside"], 0.0)
    for row in off.sort_values(ascending=False, kind="stable").index[:label]:
        if off[row] > 0:
            one = table.loc[row]
            figure.add_annotation(x=one["measured_log2fc"], y=one["log2fc"], text=f"<i>{one['gene']}</i>", ax=18,
                                  ay=-12, arrowhead=0, arrowwidth=0.6, arrowcolor=AXIS, font={"size": 11},
                                  xanchor="left")
    figure.update_xaxes(title=f"measured log2 fold change (real cells)<br><i>{STAMP}</i>", range=[-limit, limit])
    figure.update_yaxes(title="predicted log2 fold change", range=[-limit, limit])
    return frame(figure, height, title={"text": f"Pearson r {r:.3f}" if np.isfinite(r) else "", "x": 0.01,
                                        "font": {"size": 13}},
                 legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 1, "xanchor": "right"})


def _agreement(effects: pd.DataFrame) -> tuple[pd.DataFrame, float, float]:
    from scdiff_core.analysis.metrics import pearson

    columns = ["log2fc", "low", "high", "measured_log2fc"]
    table: pd.DataFrame = effects.loc[np.isfinite(effects[columns].to_numpy(float)).all(axis=1)].reset_index(drop=True)
    if not len(table):
        raise ScdiffError("Predicted and measured changes cannot be compared.",
                          "No real cells of this perturbation were measured.", "Choose one that the data has.")
    real, made = table["measured_log2fc"].to_numpy(float), table["log2fc"].to_numpy(float)
    wide = _of_experiment(table)
    low, high = (table["low"].to_numpy(float), table["high"].to_numpy(float)) if wide is None else wide.T
    table = table.assign(outside=(real < low - 1e-6) | (real > high + 1e-6))
    usual = float(np.quantile(np.abs(real), 0.995)) if len(real) > 20 else float(np.abs(real).max())
    return table, 1.05 * max(usual, float(np.abs(made).max()), 0.1), pearson(real, made)


def export_agreement(effects: pd.DataFrame, *, title: str = "", fmt: str = "svg", size: Size | None = None) -> bytes:
    """Return `agreement` as a file."""
    table, limit, r = _agreement(effects)
    figure, axes = new_figure(3.6, 3.7)
    place = axes[0, 0]
    place.plot([-limit, limit], [-limit, limit], linestyle="--", color="#777777", linewidth=0.7)
    outside = table["outside"].to_numpy(bool)
    for these, words, colour, marker in ((~outside, "within the 90 % interval", REAL, "o"),
                                         (outside, "outside", HIGHER, "D")):
        place.scatter(table["measured_log2fc"][these], table["log2fc"][these], s=5 if marker == "o" else 12,
                      color=colour, marker=marker, linewidths=0, alpha=0.7, label=words)
    place.set(xlabel="measured log2 fold change (real cells)", ylabel="predicted log2 fold change",
              xlim=(-limit, limit), ylim=(-limit, limit), title=f"{title} · Pearson r {r:.3f}".lstrip(" ·"))
    place.legend(loc="lower right", fontsize=6.5)
    return save_figure(figure, fmt, True, size)
