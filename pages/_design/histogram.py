"""A small histogram of real cells with a handle at the level that is asked for: drag it, or move it with the arrows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

HEIGHT = 44

_HTML = """<div class="box"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img"></svg>
<div class="handle" data-of="level"></div><div class="handle" data-of="upper"></div>
<output></output><span class="end low"></span><span class="end high"></span></div>"""
_CSS = """
.box { position: relative; height: 44px; margin: 0 7px; font: 400 0.6875rem/1 var(--st-font, sans-serif);
  color: var(--st-text-color); }
svg { position: absolute; inset: 0 0 11px 0; width: 100%; height: 33px; overflow: visible; }
rect { fill: var(--st-text-color); opacity: 0.28; }
rect.met { fill: var(--st-primary-color); opacity: 1; }
.handle { position: absolute; top: -2px; height: 37px; width: 14px; margin-left: -7px; cursor: ew-resize;
  touch-action: none; border-radius: 4px; }
.handle::after { content: ""; position: absolute; left: 6px; width: 2px; top: 0; bottom: 0;
  background: var(--st-text-color); }
.handle::before { content: ""; position: absolute; left: 2px; width: 10px; height: 10px; top: 12px; z-index: 1;
  border-radius: 50%; background: var(--st-background-color); border: 2px solid var(--st-text-color);
  box-sizing: border-box; }
.handle:hover::before, .handle:focus-visible::before { background: var(--st-primary-color); }
.handle:focus-visible { outline: 2px solid var(--st-primary-color); }
.handle[hidden] { display: none; }
.end { position: absolute; bottom: 0; opacity: 0.85; }
.low { left: 0; } .high { right: 0; }
output { position: absolute; top: -2px; padding: 2px 4px; border-radius: 4px; pointer-events: none; display: none;
  background: var(--st-background-color); border: 1px solid var(--st-border-color); z-index: 2; }
output.on { display: block; }
"""
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const find = (what) => parentElement.querySelector(what);
  const box = find(".box"), svg = find("svg"), said = find("output");
  const { counts, low, high, direction, name, step } = data;
  const at = { level: data.level, upper: data.upper };
  const place = (v) => Math.min(100, Math.max(0, 100 * (v - low) / (high - low)));
  const met = (from, to) => direction === "down" ? from <= at.level  // a bar in which a cell may meet the row
    : to > at.level && (direction === "up" || from <= at.upper);
  const top = Math.sqrt(Math.max(1, ...counts));  // by square roots: the few cells at the end still show
  svg.setAttribute("aria-label", `Real cells by ${name}`);
  svg.replaceChildren(...counts.map((n, i) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = n ? Math.max(3, 100 * Math.sqrt(n) / top) : 0, wide = 100 / counts.length;
    for (const [k, v] of Object.entries({ x: i * wide, width: wide * 0.9, y: 100 - height, height }))
      bar.setAttribute(k, v);
    bar.ends = [i, i + 1].map((at) => low + at * (high - low) / counts.length);
    return bar;
  }));
  find(".low").textContent = low.toFixed(1);
  find(".high").textContent = high.toFixed(1);
  const handles = [...parentElement.querySelectorAll(".handle")];
  const draw = () => {
    for (const bar of svg.children) bar.classList.toggle("met", at.level !== null && met(...bar.ends));
    for (const handle of handles) {
      const of = handle.dataset.of, value = at[of];
      handle.hidden = value === null || value === undefined;
      if (handle.hidden) continue;
      handle.style.left = `${place(value)}%`;
      handle.setAttribute("role", "slider");
      handle.tabIndex = 0;
      handle.setAttribute("aria-label", `${of === "upper" ? "Upper level" : "Level"} of ${name} on the histogram`);
      handle.setAttribute("aria-valuemin", low.toFixed(2));
      handle.setAttribute("aria-valuemax", high.toFixed(2));
      handle.setAttribute("aria-valuenow", value.toFixed(2));
    }
  };
  const move = (of, value) => {
    let v = Math.min(high, Math.max(low, Math.round(value / step) * step));
    if (direction === "between") v = of === "level" ? Math.min(v, at.upper - step) : Math.max(v, at.level + step);
    at[of] = Number(v.toFixed(4));
    said.textContent = at[of].toFixed(2);
    said.style.left = `min(calc(100% - 3rem), calc(${place(v)}% + 10px))`;
    draw();
  };
  const tell = (of) => {
    said.classList.remove("on");
    setTriggerValue("moved", { of, value: at[of] });
  };
  for (const handle of handles) {
    const of = handle.dataset.of;
    handle.onpointerdown = (event) => {
      handle.setPointerCapture(event.pointerId);
      said.classList.add("on");
      handle.onpointermove = (e) => {
        const { left, width } = box.getBoundingClientRect();
        move(of, low + (high - low) * (e.clientX - left) / width);
      };
      handle.onpointerup = () => { handle.onpointermove = handle.onpointerup = null; tell(of); };
      event.preventDefault();
      handle.focus();
    };
    handle.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!by) return;
      event.preventDefault();
      move(of, at[of] + by * Math.max(step, (high - low) / 100));
      said.classList.add("on");
      clearTimeout(handle.later);
      handle.later = setTimeout(() => tell(of), 500);
    };
  }
  draw();
}
"""
_COMPONENT = st.components.v2.component("scdiff_level_histogram", html=_HTML, css=_CSS, js=_JS)


def level_histogram(drawn: dict[str, Any], key: str, on_move: Callable[[str, float], None]) -> None:
    """Draw the histogram of one row.

    Parameters
    ----------
    drawn
        counts [bins], low and high (their range), direction, level, upper (None where there is none), name, step.
    on_move
        Called with "level" or "upper" and its new value once a handle is let go, as a callback.
    """
    def heard() -> None:
        state = st.session_state.get(key)
        moved = state.get("moved") if isinstance(state, dict) else None
        if isinstance(moved, dict) and moved.get("of") in ("level", "upper"):
            on_move(str(moved["of"]), float(moved["value"]))

    _COMPONENT(key=key, data=drawn, height=HEIGHT, on_moved_change=heard)
