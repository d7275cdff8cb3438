// One scatter: takes in the data, draws when something changed, and holds the parts together.

const remembered = new Map(); // the view of each key, so that leaving a page and coming back keeps it

// All of a header that is seen, but for the selection.
function looksOf(meta) {
  const layers = meta.layers.map((spec) => ({ ...spec, selected: null }));
  return JSON.stringify({ ...meta, hash: "", at: {}, asked: 0, select: { on: meta.select.on }, layers });
}

class CellCanvas {
  constructor(root, whenCalm) {
    this.root = root.querySelector(".cc");
    const find = (name) => this.root.querySelector(name);
    this.plot = find(".cc-plot");
    this.renderer = WebGLRenderer.start(find(".cc-cells")) || new FlatRenderer(find(".cc-cells"));
    this.canvas = this.renderer.canvas; // that of the page, or one that was kept in its place
    this.canvas.dataset.renderer = this.renderer.name;
    this.over = find(".cc-over");
    this.note = find(".cc-note");
    this.view = new View();
    this.layers = [];
    this.hiddenLayers = new Set();
    this.hidden = new Set();
    this.hiddenOf = new Map(); // hidden groups of each list of categories seen so far
    this.range = [0, 1]; // of the colours; the legend's handles change it
    this.send = () => {};
    this.mailbox = new Mailbox(
      (meta) => this.update(meta), (hashes) => this.send("lack", hashes),
      (patience, ask) => whenCalm(this.root, patience, ask));
    this.selection = new Selection(this);
    this.tip = new Tip(find(".cc-tip"), this);
    this.table = new CellTable(find(".cc-table"), this);
    this.legend = new Legend(find(".cc-legend"), this);
    this.tools = new Tools(this);
    this.listening = new AbortController();
    listen(this, this.listening.signal);
    this.watch = new ResizeObserver(() => this.fitSize());
    this.watch.observe(this.root);
    this.watch.observe(this.plot);
  }

  update(meta) {
    if (this.meta && meta.hash === this.meta.hash) return;
    const first = !this.meta;
    const newFrame = first || meta.dataset !== this.meta.dataset;
    this.meta = meta;
    const old = this.layers;
    let moved = false;
    this.layers = meta.layers.map((spec) => {
      const layer = old.find((l) => l.spec.name === spec.name) || new CellLayer();
      moved = layer.update(spec, meta.colour) || moved;
      return layer;
    });
    old.filter((l) => !this.layers.includes(l)).forEach((l) => this.renderer.forget(l));
    this.chooseHidden();
    if (newFrame) this.view.frameOn(meta.extent, meta.equal);
    if (first) this.recall();
    if (moved) this.tip.point(null);
    const selected = this.selection.take(meta, first);
    this.tools.update(first);
    const looks = looksOf(meta);
    if (looks === this.looks) {
      if (selected) this.selectionChanged();
      return;
    }
    this.looks = looks;
    this.canvas.setAttribute("aria-label", meta.summary);
    this.root.style.height = `${meta.height}px`;
    this.say();
    this.fitSize();
    this.recolour();
  }

  // What stands in the corner: cells outside the frame, and what a missing WebGL 2 means.
  say() {
    const parts = [];
    const outside = this.layers.filter((l) => l.spec.outside);
    if (outside.length) {
      const said = outside.map((l) => `${l.spec.outside.toLocaleString("en-US")} ${cellsOf(l)}`).join(" and ");
      const fit = element("button", "cc-link", "Show them");
      fit.type = "button";
      fit.addEventListener("click", () => {
        this.view.fit(outside.map((l) => l.spec.box));
        this.later();
      });
      parts.push(`${said} lie outside the frame. `, fit);
    }
    if (this.renderer.name === "canvas2d") {
      const total = this.layers.reduce((sum, l) => sum + l.spec.n, 0);
      const share = total > FLAT_LIMIT ? `; ${FLAT_LIMIT.toLocaleString("en-US")} of the cells are shown` : "";
      parts.push(element("div", "", `This browser has no WebGL 2: drawn the slow way${share}.`));
    }
    const text = parts.map((p) => p.textContent || p).join("");
    if (this.said !== text) this.note.replaceChildren(...parts);
    this.said = text;
  }

  recall() {
    const kept = remembered.get(this.meta.key);
    if (!kept || kept.dataset !== this.meta.dataset) return;
    Object.assign(this.view, kept.view);
    kept.hiddenLayers.forEach((name) => this.hiddenLayers.add(name));
    this.hiddenOf = kept.hiddenOf;
    this.chooseHidden();
  }

  // Each list of categories has its own hidden groups, found again when it comes back.
  chooseHidden() {
    const names = JSON.stringify(this.meta.colour.categories);
    if (!this.hiddenOf.has(names)) this.hiddenOf.set(names, new Set());
    this.hidden = this.hiddenOf.get(names);
  }

  hiddenCodes() {
    const names = [...this.meta.colour.categories, MISSING];
    return new Set([...names.keys()].filter((code) => this.hidden.has(names[code])));
  }

  // The layers whose cells are coloured by group.
  grouped() {
    return this.layers.filter((l) => !l.spec.grey && l.spec.by === "codes");
  }

  // The layers that are spoken of: all but what the others lie in.
  listed() {
    return this.layers.filter((l) => !l.spec.behind);
  }

  layer(name) {
    return this.layers.find((l) => l.spec.name === name);
  }

  shownLayers() {
    return this.layers.filter((l) => !this.hiddenLayers.has(l.spec.name));
  }

  // The groups of the legend: [{name, label, code, colour, count}], those that have a cell anywhere.
  groups() {
    const { colour } = this.meta;
    const coloured = this.grouped();
    if (!coloured.length) return [];
    const sum = (layers, code) => layers.reduce((n, l) => n + l.countByCode()[code], 0);
    const coded = this.layers.filter((l) => l.codes);
    const all = colour.categories.map((name, code) => ({
      name, label: name, code, colour: legible(rgb(colour.palette[code % colour.palette.length]), this.theme),
    }));
    all.push({ name: MISSING, label: "no label", code: all.length, colour: this.theme.grey });
    return all
      .map((group) => ({ ...group, count: sum(coloured, group.code) }))
      .filter((g) => (g.name === MISSING ? g.count : g.count || sum(coded, g.code)));
  }

  labels() {
    const { categories } = this.meta.colour;
    const best = this.shownLayers().filter((l) => l.codes && l.spec.shape === "dot");
    const layer = best[0] || this.shownLayers().find((l) => l.codes);
    if (!layer) return [];
    const counts = layer.countByCode();
    return layer.labelCentres()
      .map((at, code) => at && { text: categories[code], x: at[0], y: at[1], n: counts[code], code })
      .filter((label) => label && label.code < categories.length && !this.hidden.has(label.text))
      .sort((a, b) => b.n - a.n);
  }

  readTheme() {
    const style = getComputedStyle(this.root);
    const [text, back] = [rgb(style.color), rgb(style.backgroundColor)];
    const accent = rgb(getComputedStyle(this.note).outlineColor); // carries the theme's primary colour
    const grey = mix(back, text, luminance(back) > 0.5 ? 0.24 : 0.32);
    this.theme = { text, back, accent, grey, font: style.fontFamily };
  }

  // Colours, or what is hidden, have changed: new tables, no new positions.
  recolour() {
    this.readTheme();
    const { colour } = this.meta;
    const hidden = this.hiddenCodes();
    const alphaOf = (code) => {
      if (hidden.has(code)) return 0;
      return this.lit === undefined || this.lit === null || this.lit === code ? 1 : 0.12;
    };
    this.range = this.legend.rangeOf(colour);
    for (const layer of this.layers) {
      layer.lut = lookup(layer, colour, this.theme, alphaOf);
      layer.versions.lut++;
    }
    this.legend.update();
    this.table.update();
    this.later();
  }

  highlight(code) {
    this.lit = code !== null && this.hiddenCodes().has(code) ? null : code;
    this.recolour();
  }

  // The selection was changed here: drawn at once, whatever the server makes of it.
  selectionChanged() {
    this.tools.refresh();
    this.table.update();
    this.later();
  }

  fitSize() {
    this.root.classList.toggle("narrow", this.root.clientWidth < 480);
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !height) return;
    const changed = width !== this.view.width || height !== this.view.height;
    this.view.width = width;
    this.view.height = height;
    if (changed && this.meta) this.paint(); // at once: a resized canvas is empty
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  styleOf(layer) {
    const total = this.layers.reduce((n, l) => Math.max(n, l.spec.n), 0);
    return pointStyle(layer, total, this.view, this.tools.taste);
  }

  paint(ratio = window.devicePixelRatio || 1) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.renderer.lost || !this.theme) return;
    const { view, canvas, theme, selection } = this;
    const size = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    this.renderer.resize(...size);
    const drawn = passes(this.shownLayers(), (layer) => this.styleOf(layer), selection.n > 0, theme);
    this.renderer.draw(drawn, view, { ratio, range: this.range, back: theme.back });
    this.paintOver(ratio, size);
    Object.assign(canvas.dataset, {
      painted: this.countPainted(), zoom: view.zoom.toFixed(4), uploads: this.renderer.uploads, selected: selection.n,
      centre: `${view.cx.toPrecision(6)},${view.cy.toPrecision(6)}`, range: this.range.join(","),
      coloured: this.meta.colour.title, frames: Number(canvas.dataset.frames || 0) + 1,
    });
  }

  // What lies over the cells: labels, the cell under the pointer, the lasso being drawn.
  paintOver(ratio, size) {
    const { over, view, theme, meta } = this;
    if (over.width !== size[0]) over.width = size[0];
    if (over.height !== size[1]) over.height = size[1];
    const pen = over.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    if (meta.labels) drawLabels(pen, this.labels(), view, theme);
    if (this.tip.cell) {
      const { layer, i } = this.tip.cell;
      const at = view.toPixels(...layer.toData(layer.xy[2 * i], layer.xy[2 * i + 1]));
      drawMark(pen, at, this.styleOf(layer).radius, theme);
    }
    if (this.tools.drawing) drawShape(pen, this.tools.drawing, theme);
  }

  // The lasso alone has grown: the cells beneath need no new drawing.
  laterOver() {
    if (this.frame || this.overFrame) return;
    this.overFrame = requestAnimationFrame(() => {
      this.overFrame = 0;
      if (this.theme) this.paintOver(this.over.width / this.view.width, [this.over.width, this.over.height]);
    });
  }

  countPainted() {
    const hidden = this.hiddenCodes();
    return this.shownLayers().reduce((sum, layer) => {
      if (layer.spec.behind) return sum;
      if (layer.spec.grey || layer.spec.by !== "codes") return sum + layer.spec.n;
      return sum + layer.countByCode().reduce((n, c, code) => n + (hidden.has(code) ? 0 : c), 0);
    }, 0);
  }

  destroy() {
    if (this.meta) {
      const { cx, cy, zoom } = this.view;
      remembered.set(this.meta.key, {
        dataset: this.meta.dataset, view: { cx, cy, zoom }, hiddenLayers: this.hiddenLayers, hiddenOf: this.hiddenOf,
      });
    }
    this.mailbox.stop();
    clearTimeout(this.table.timer);
    this.listening.abort();
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    cancelAnimationFrame(this.overFrame);
    this.renderer.destroy();
  }
}
