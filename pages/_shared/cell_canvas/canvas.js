// One scatter: takes in the data, draws when something changed, listens to pointer and keys.

const remembered = new Map(); // the view of each key, so that leaving a page and coming back keeps it

class CellCanvas {
  constructor(root) {
    this.root = root.querySelector(".cc");
    const find = (name) => this.root.querySelector(name);
    this.plot = find(".cc-plot");
    this.canvas = find(".cc-cells");
    this.over = find(".cc-over");
    this.tip = find(".cc-tip");
    this.note = find(".cc-note");
    this.view = new View();
    this.layers = [];
    this.hiddenLayers = new Set();
    this.hidden = new Set();
    this.hiddenOf = new Map(); // hidden groups of each list of categories seen so far
    this.legend = new Legend(find(".cc-legend"), this);
    this.renderer = WebGLRenderer.start(this.canvas) || new FlatRenderer(this.canvas);
    this.canvas.dataset.renderer = this.renderer.name;
    this.listening = new AbortController();
    listen(this, this.listening.signal);
    this.watch = new ResizeObserver(() => this.fitSize());
    this.watch.observe(this.root);
    this.watch.observe(this.plot);
  }

  update(bytes) {
    const { meta, take } = unpack(bytes);
    if (this.meta && meta.hash === this.meta.hash) return;
    const first = !this.meta;
    const newFrame = first || meta.dataset !== this.meta.dataset;
    this.meta = meta;
    const old = this.layers;
    let moved = false;
    this.layers = meta.layers.map((spec) => {
      const layer = old.find((l) => l.spec.name === spec.name) || new CellLayer();
      moved = layer.update(spec, take, meta.colour) || moved;
      return layer;
    });
    old.filter((l) => !this.layers.includes(l)).forEach((l) => this.renderer.forget(l));
    this.chooseHidden();
    if (newFrame) this.view.frameOn(meta.extent, meta.equal);
    if (first) this.recall();
    if (moved) this.point(null);
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
      const fit = element("button", "", "Show them");
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

  // The layers whose cells are coloured by group.
  grouped() {
    return this.layers.filter((l) => !l.spec.grey && l.spec.by === "codes");
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
    this.theme = { text, back, grey: mix(back, text, luminance(back) > 0.5 ? 0.24 : 0.32), font: style.fontFamily };
  }

  // Colours, or what is hidden, have changed: new tables, no new positions.
  recolour() {
    this.readTheme();
    const { colour } = this.meta;
    const names = [...colour.categories, MISSING];
    const alphaOf = (code) => {
      if (this.hidden.has(names[code])) return 0;
      return this.lit === undefined || this.lit === null || this.lit === code ? 1 : 0.12;
    };
    for (const layer of this.layers) {
      layer.lut = lookup(layer, colour, this.theme, alphaOf);
      layer.versions.lut++;
    }
    this.legend.update();
    this.later();
  }

  highlight(code) {
    this.lit = code !== null && this.hidden.has([...this.meta.colour.categories, MISSING][code]) ? null : code;
    this.recolour();
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

  paint(ratio = window.devicePixelRatio || 1) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (this.renderer.lost || !this.theme) return;
    const { view, meta, canvas, over, theme } = this;
    const size = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    this.renderer.resize(...size);
    const total = this.layers.reduce((n, l) => Math.max(n, l.spec.n), 0);
    const drawn = this.shownLayers().map((layer) => ({ layer, style: pointStyle(layer, total, view) }));
    this.renderer.draw(drawn, view, { ratio, range: meta.colour.range, back: theme.back });
    if (over.width !== size[0]) over.width = size[0];
    if (over.height !== size[1]) over.height = size[1];
    const pen = over.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    if (meta.labels) drawLabels(pen, this.labels(), view, theme);
    if (this.pointed) {
      const { layer, i } = this.pointed;
      const at = view.toPixels(...layer.toData(layer.xy[2 * i], layer.xy[2 * i + 1]));
      drawMark(pen, at, pointStyle(layer, total, view).radius, theme);
    }
    Object.assign(canvas.dataset, {
      painted: this.countPainted(drawn), zoom: view.zoom.toFixed(4), uploads: this.renderer.uploads,
      centre: `${view.cx.toPrecision(6)},${view.cy.toPrecision(6)}`,
      frames: Number(canvas.dataset.frames || 0) + 1,
    });
  }

  countPainted(drawn) {
    const names = [...this.meta.colour.categories, MISSING];
    return drawn.reduce((sum, { layer }) => {
      if (layer.spec.grey || layer.spec.by !== "codes") return sum + layer.spec.n;
      return sum + layer.countByCode().reduce((n, c, code) => n + (this.hidden.has(names[code]) ? 0 : c), 0);
    }, 0);
  }

  // ---- the cell under the pointer ----

  cellAt(px, py) {
    const visible = (layer, i) => layer.lut[4 * entryOf(layer, i, this.meta.colour.range) + 3] > 0;
    let best = null;
    for (const layer of [...this.shownLayers()].reverse()) {
      const hit = layer.nearest(this.view, px, py, 10, visible);
      // what lies on top wins, unless something beneath is clearly nearer
      if (hit && (!best || hit.distance + 3 < best.distance)) best = { ...hit, layer };
    }
    return best;
  }

  point(px, py) {
    const hit = px === null || !this.meta ? null : this.cellAt(px, py);
    const same = hit && this.pointed && hit.i === this.pointed.i && hit.layer === this.pointed.layer;
    if (!same && (hit || this.pointed)) {
      this.pointed = hit;
      if (hit) this.fillTip(hit);
      this.later();
    }
    this.tip.hidden = !hit;
    if (!hit) return;
    const { offsetWidth: w, offsetHeight: h } = this.tip;
    const left = px + 16 + w > this.view.width ? px - 16 - w : px + 16;
    const top = py + 16 + h > this.view.height ? py - 16 - h : py + 16;
    this.tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  fillTip({ layer, i }) {
    const { colour } = this.meta;
    const { spec } = layer;
    const at = 4 * entryOf(layer, i, colour.range);
    const title = element("div", "cc-tip-title");
    const chip = element("span", spec.shape === "ring" ? "cc-chip ring" : "cc-chip");
    chip.style.setProperty("--chip", css([...layer.lut.subarray(at, at + 3)]));
    title.append(chip, element("span", "", spec.name));
    const list = element("dl");
    const add = (name, value) => list.append(element("dt", "", name), element("dd", "", value));
    const group = (colour.kind === "codes" && colour.title) || "group";
    if (layer.codes) add(group, colour.categories[layer.codes[i]] ?? "no label");
    if (layer.values) {
      const cut = spec.values.cut;
      const sign = cut[0] && layer.values[i] === 0 ? "≤ " : cut[1] && layer.values[i] === 65534 ? "≥ " : "";
      add(colour.title || "value", sign + sayNumber(layer.valueOf(i)));
    }
    const said = new Set([layer.codes ? group : "", layer.values ? colour.title : ""]);
    for (const column of layer.columns.filter((c) => !said.has(c.name))) {
      const entry = column.data[i];
      add(column.name, column.kind === "number" ? sayNumber(entry) : column.vocab[entry] ?? "none");
    }
    this.tip.replaceChildren(title, list);
  }

  destroy() {
    if (this.meta) {
      const { cx, cy, zoom } = this.view;
      remembered.set(this.meta.key, {
        dataset: this.meta.dataset, view: { cx, cy, zoom }, hiddenLayers: this.hiddenLayers, hiddenOf: this.hiddenOf,
      });
    }
    this.listening.abort();
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
    this.renderer.destroy();
  }
}

