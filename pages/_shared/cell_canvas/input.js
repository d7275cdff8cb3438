// Pointer, wheel and keys, and what Streamlit calls.

function listen(app, signal) {
  const { canvas, view, root, tools } = app;
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
    all: () => tools.act("all"),
    invert: () => tools.act("invert"),
    clear: () => tools.act("clear"),
  };
  const run = (name) => {
    if (!app.meta) return;
    act[name]();
    app.tip.point(null);
    app.later();
  };

  const fingers = new Map();
  on(canvas, "pointerdown", (event) => {
    const middle = event.button === 1; // moves the view with any tool
    if ((event.button && !middle) || !app.meta) return;
    if (middle) event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(event.pointerId, place(event));
    app.tip.point(null);
    // a second finger means zooming: what the first began to draw is dropped
    if (fingers.size > 1) tools.cancel();
    else tools.drawing = tools.starts(event);
    if (tools.drawing) tools.draw([place(event)]);
  });
  on(canvas, "pointermove", (event) => {
    const now = place(event);
    const before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") app.tip.point(...now);
      return;
    }
    fingers.set(event.pointerId, now);
    if (tools.drawing) {
      const between = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      tools.draw(between.length ? between.map(place) : [now]);
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
    app.later();
  });
  on(canvas, "pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (tools.drawing) tools.finish();
    else app.tip.point(...place(event));
  });
  on(canvas, "pointercancel", (event) => {
    fingers.delete(event.pointerId);
    tools.cancel();
  });
  on(canvas, "pointerleave", () => app.tip.point(null));
  on(canvas, "dblclick", () => {
    if (tools.tool === "pan") run("reset");
  });
  on(canvas, "wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
    const pixels = Math.max(-300, Math.min(300, event.deltaY * lines));
    view.zoomAt(...place(event), Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0016)));
    app.tip.point(null);
    app.later();
  }, { passive: false });

  on(canvas, "keydown", (event) => {
    if (!app.meta) return;
    const step = event.shiftKey ? 160 : 40;
    const plain = {
      "+": () => run("in"), "=": () => run("in"), "-": () => run("out"), _: () => run("out"),
      0: () => run("reset"), Home: () => run("reset"),
      ArrowLeft: () => view.pan(step, 0), ArrowRight: () => view.pan(-step, 0),
      ArrowUp: () => view.pan(0, step), ArrowDown: () => view.pan(0, -step),
    };
    const select = { l: () => tools.choose("lasso"), b: () => tools.choose("box"), p: () => tools.choose("pan") };
    const held = event.ctrlKey || event.metaKey;
    let what = null;
    if (held && !event.altKey && event.key.toLowerCase() === "a" && tools.on) what = () => run("all");
    else if (!held && !event.altKey) what = plain[event.key] || (tools.on && select[event.key.toLowerCase()]);
    if (!what) return;
    event.preventDefault(); // the page would scroll
    what();
    app.later();
  });
  // one step back at a time: a drawing, an open panel, the cell's box, the selection
  on(root, "keydown", (event) => {
    if (event.key !== "Escape" || !app.meta) return;
    if (tools.cancel()) fingers.clear();
    else if (tools.panelOpen) tools.toggle(null);
    else if (event.target !== canvas) return;
    else if (app.selection.n && tools.on) run("clear");
    else app.tip.point(null);
    event.preventDefault();
    event.stopPropagation();
  });

  for (const button of root.querySelectorAll("[data-do]")) on(button, "click", () => run(button.dataset.do));
  for (const button of root.querySelectorAll(".cc-pick button")) {
    on(button, "click", () => tools.choose(button.dataset.tool));
  }
  for (const button of root.querySelectorAll("[data-mode]")) {
    on(button, "click", () => {
      tools.mode = button.dataset.mode;
      tools.refresh();
    });
  }
  for (const button of root.querySelectorAll("[data-panel]")) {
    on(button, "click", () => tools.toggle(button.dataset.panel));
  }
  on(tools.size, "input", () => tools.setTaste({ size: 2 ** Number(tools.size.value) }));
  on(tools.opacity, "input", () => tools.setTaste({ opacity: Number(tools.opacity.value) }));
  on(tools.find(".cc-taste button"), "click", () => tools.setTaste({ size: 1, opacity: null }));

  on(canvas, "webglcontextlost", (event) => {
    event.preventDefault(); // so that it may come back
    canvas.dataset.painted = "0";
  });
  on(canvas, "webglcontextrestored", () => {
    app.renderer.restore();
    app.later();
  });
  on(root, "transitionend", (event) => {
    if (event.target === root && app.meta) app.recolour();
  });
}

// Streamlit calls this on every rerun with new data, on the same element: the scatter is built once.
const canvases = new WeakMap();

export default function ({ data, parentElement, setTriggerValue, whenCalm }) {
  let app = canvases.get(parentElement);
  if (!app) {
    app = new CellCanvas(parentElement, whenCalm);
    canvases.set(parentElement, app);
  }
  app.send = setTriggerValue;
  if (data) app.mailbox.receive(data);
  // Streamlit also calls this for a run that newer data overtook: only a canvas that has left the page goes
  return () => setTimeout(() => {
    if (app.root.isConnected || canvases.get(parentElement) !== app) return;
    canvases.delete(parentElement);
    app.destroy();
  });
}
