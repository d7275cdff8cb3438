// The toolbar: what dragging does, how much is selected, point size and opacity.

const KEYS_VIEW = "Arrow keys move the view, plus and minus zoom, 0 shows everything again.";
const KEYS_SELECT = " L draws a lasso, B a box, P moves the view; Control and A selects all shown cells, Escape selects"
  + " none. Groups can be selected from the legend.";

class Tools {
  constructor(app) {
    this.app = app;
    this.find = (name) => app.root.querySelector(name);
    this.tool = "pan";
    this.mode = "replace";
    this.drawing = null; // {kind, mode, path} while a box or a lasso is being drawn
    this.taste = { size: 1, opacity: null };
    this.size = this.find("[name=size]");
    this.opacity = this.find("[name=opacity]");
    this.notice = "";
  }

  get on() {
    return Boolean(this.app.meta && this.app.meta.select.on);
  }

  update(first) {
    if (first) this.recallTaste();
    this.find("#cc-keys").textContent = KEYS_VIEW + (this.on ? KEYS_SELECT : "");
    if (!this.on) {
      this.tool = "pan";
      this.drawing = null;
    }
    this.refresh();
  }

  refresh() {
    const { selection, root } = this.app;
    this.find(".cc-pick").hidden = !this.on;
    this.find(".cc-mode").hidden = !this.on || (this.tool === "pan" && !selection.n);
    root.dataset.tool = this.tool;
    for (const button of root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === this.tool));
    }
    for (const button of root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === this.mode));
    }
    // selected cells are counted wherever there are any; the buttons are for who can select here
    const picked = this.find(".cc-picked");
    const words = selection.n ? `${selection.n.toLocaleString("en-US")} selected` : "";
    const said = [words, this.notice].filter(Boolean).join(": ");
    picked.hidden = !said && !(this.on && this.tool !== "pan");
    const number = this.find(".cc-number");
    const text = said || "None selected";
    if (number.textContent !== text) number.textContent = text;
    for (const name of ["all", "invert", "clear"]) {
      this.find(`[data-do=${name}]`).hidden = !this.on || (name !== "all" && !selection.n);
    }
  }

  choose(tool) {
    if (!this.on) return;
    this.tool = tool;
    this.cancel();
    this.refresh();
  }

  // ---- drawing ----

  // What a drag that begins now would select with; null where it moves the view.
  starts(event) {
    if (!this.on || event.button) return null;
    const kind = this.tool === "pan" ? (event.shiftKey || event.altKey ? "lasso" : null) : this.tool;
    return kind && { kind, mode: event.altKey ? "take" : event.shiftKey ? "add" : this.mode, path: [] };
  }

  draw(points) {
    const { path, kind } = this.drawing;
    if (kind === "box" && path.length) path.splice(1, 1, points[points.length - 1]);
    else path.push(...points);
    this.app.laterOver();
  }

  cancel() {
    if (!this.drawing) return false;
    this.drawing = null;
    this.app.laterOver();
    return true;
  }

  finish() {
    const { kind, mode, path } = this.drawing;
    this.cancel();
    const polygon = kind === "box" ? boxOf(path) : thinned(path);
    const width = Math.max(...polygon.map((p) => p[0])) - Math.min(...polygon.map((p) => p[0]));
    const height = Math.max(...polygon.map((p) => p[1])) - Math.min(...polygon.map((p) => p[1]));
    // a click, or a slip of the hand: what is selected stays
    if (polygon.length < 3 || Math.max(width, height) < 4) return;
    const { selection, canvas } = this.app;
    const began = performance.now();
    const n = selection.inside(polygon, mode);
    canvas.dataset.took = (performance.now() - began).toFixed(1);
    this.notice = n ? "" : "no shown cell lies in there";
    if (!n) this.refresh();
  }

  act(name) {
    if (!this.on) return;
    const { selection } = this.app;
    this.notice = "";
    if (name === "all") selection.everything();
    else if (name === "invert") selection.everything("invert");
    else selection.clear();
    this.refresh();
    if (this.find(".cc-picked").hidden) this.app.canvas.focus(); // the button that was pressed is gone
  }

  // ---- point size and opacity ----

  get memory() {
    return `scdiff.canvas.${this.app.meta.key}`;
  }

  recallTaste() {
    try {
      this.taste = { ...this.taste, ...JSON.parse(localStorage.getItem(this.memory) || "{}") };
    } catch {
      // a browser that keeps nothing: as at first
    }
    this.showTaste();
  }

  setTaste(change) {
    Object.assign(this.taste, change);
    try {
      localStorage.setItem(this.memory, JSON.stringify(this.taste));
    } catch {
      // then for as long as the page is open
    }
    this.showTaste();
    this.app.later();
  }

  showTaste() {
    this.size.value = Math.log2(this.taste.size);
    this.size.setAttribute("aria-valuetext", `${Math.round(100 * this.taste.size)} % of the usual size`);
    const layer = this.app.layers.find((l) => !l.spec.grey) || this.app.layers[0];
    this.opacity.value = this.taste.opacity ?? (layer ? this.app.styleOf(layer).alpha : 1);
    const share = Math.round(100 * Number(this.opacity.value));
    this.opacity.setAttribute("aria-valuetext", `${share} %${this.taste.opacity === null ? ", automatic" : ""}`);
  }

  // Open or close one of the panels; the other closes.
  toggle(name, open = undefined) {
    for (const button of this.app.root.querySelectorAll("[data-panel]")) {
      const panel = this.find(`.cc-${button.dataset.panel}`);
      const was = button.getAttribute("aria-expanded") === "true";
      const now = button.dataset.panel === name ? open ?? !was : false;
      button.setAttribute("aria-expanded", String(now));
      // the table is always there for screen readers
      if (button.dataset.panel === "table") panel.classList.toggle("cc-unseen", !now);
      else panel.hidden = !now;
      if (now && !was && name === "taste") {
        this.showTaste();
        this.size.focus();
      }
      if (now && !was && name === "table") panel.focus();
      if (was && !now && panel.contains(panel.getRootNode().activeElement)) button.focus();
    }
  }

  get panelOpen() {
    return Boolean(this.find("[data-panel][aria-expanded=true]"));
  }
}

function boxOf(path) {
  const [[ax, ay], [bx, by]] = [path[0], path[path.length - 1]];
  return [[ax, ay], [bx, ay], [bx, by], [ax, by]];
}

function drawShape(pen, { kind, mode, path }, theme) {
  if (path.length < 2) return;
  const points = kind === "box" ? boxOf(path) : path;
  const ink = mode === "take" ? theme.text : theme.accent;
  pen.beginPath();
  points.forEach(([x, y]) => pen.lineTo(x, y));
  pen.closePath();
  pen.fillStyle = css(ink);
  pen.globalAlpha = 0.12;
  pen.fill("nonzero");
  pen.globalAlpha = 1;
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  pen.strokeStyle = css(theme.back);
  pen.stroke();
  pen.setLineDash(mode === "take" ? [5, 4] : []);
  pen.lineWidth = 2;
  pen.strokeStyle = css(ink);
  pen.stroke();
  pen.setLineDash([]);
}
