// Pointer, wheel and keys.

function listen(app, signal) {
  const { canvas, view } = app;
  const on = (target, name, handler, options = {}) => target.addEventListener(name, handler, { signal, ...options });
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const act = {
    in: () => view.zoomAt(view.width / 2, view.height / 2, 1.35),
    out: () => view.zoomAt(view.width / 2, view.height / 2, 1 / 1.35),
    reset: () => view.reset(),
    save: () => savePicture(app),
  };
  const run = (name) => {
    if (!app.meta) return;
    act[name]();
    app.point(null);
    app.later();
  };

  const fingers = new Map();
  on(canvas, "pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(event));
    app.point(null);
  });
  on(canvas, "pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") app.point(...now);
      return;
    }
    const other = [...fingers].find(([id]) => id !== event.pointerId);
    if (other) {
      // two fingers: zoom about the one that rests
      const [ox, oy] = other[1];
      const was = Math.hypot(before[0] - ox, before[1] - oy);
      view.zoomAt(ox, oy, Math.hypot(now[0] - ox, now[1] - oy) / Math.max(1, was));
    } else {
      view.pan(now[0] - before[0], now[1] - before[1]);
    }
    fingers.set(event.pointerId, now);
    app.later();
  });
  const lift = (event) => fingers.delete(event.pointerId);
  on(canvas, "pointerup", (event) => {
    lift(event);
    app.point(...place(event));
  });
  on(canvas, "pointercancel", lift);
  on(canvas, "pointerleave", () => app.point(null));
  on(canvas, "dblclick", () => run("reset"));
  on(canvas, "wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const pixels = Math.max(-300, Math.min(300, event.deltaY * lines));
    view.zoomAt(...place(event), Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)));
    app.point(null);
    app.later();
  }, { passive: false });

  on(canvas, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 160 : 40;
    const keys = {
      "+": () => run("in"), "=": () => run("in"), "-": () => run("out"), _: () => run("out"),
      0: () => run("reset"), Home: () => run("reset"), Escape: () => app.point(null),
      ArrowLeft: () => view.pan(step, 0), ArrowRight: () => view.pan(-step, 0),
      ArrowUp: () => view.pan(0, step), ArrowDown: () => view.pan(0, -step),
    };
    if (!keys[event.key]) return;
    event.preventDefault(); // the page would scroll
    keys[event.key]();
    app.later();
  });
  for (const button of app.root.querySelectorAll("[data-do]")) on(button, "click", () => run(button.dataset.do));

  on(canvas, "webglcontextlost", (event) => {
    event.preventDefault(); // so that it may come back
    canvas.dataset.painted = "0";
  });
  on(canvas, "webglcontextrestored", () => {
    app.renderer.restore();
    app.later();
  });
  on(app.root, "transitionend", (event) => {
    if (event.target === app.root && app.meta) app.recolour();
  });
}

// Streamlit calls this on every rerun with new data, on the same element: the scatter is built once.
const canvases = new WeakMap();

export default function ({ data, parentElement }) {
  let app = canvases.get(parentElement);
  if (!app) {
    app = new CellCanvas(parentElement);
    canvases.set(parentElement, app);
  }
  if (data) app.update(data);
  // Streamlit also calls this for a run that newer data overtook: only a canvas that has left the page goes
  return () => setTimeout(() => {
    if (app.root.isConnected || canvases.get(parentElement) !== app) return;
    canvases.delete(parentElement);
    app.destroy();
  });
}
