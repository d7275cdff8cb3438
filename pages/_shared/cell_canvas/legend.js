// The legend: layers, then groups or the colour range. Rows are kept while they describe the same things,
// so that neither focus nor pointer is lost when new cells arrive.

const MISSING = "\u0000missing"; // the group of cells without a label

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text; // never HTML: names come from the data
  return node;
}

class Legend {
  constructor(node, app) {
    this.node = node;
    this.app = app;
    this.signature = "";
    this.rows = [];
    this.range = new Range(app);
  }

  rangeOf(colour) {
    return this.range.of(colour);
  }

  update() {
    const { meta, theme } = this.app;
    const layers = this.app.listed();
    const groups = this.app.groups();
    const signature = JSON.stringify([
      layers.map((l) => [l.spec.name, l.spec.shape, l.spec.grey]),
      meta.select.on, [meta.colour.title, meta.colour.kind, meta.colour.map, meta.colour.palette],
      groups.map((g) => g.name), theme,
    ]);
    if (signature !== this.signature) {
      this.signature = signature;
      this.build(groups);
    }
    this.refresh(groups);
  }

  build(groups) {
    const { meta, theme } = this.app;
    const layers = this.app.listed();
    const { colour } = meta;
    this.rows = [];
    this.node.replaceChildren();
    if (layers.length > 1 || colour.kind === "one") {
      const set = element("div", "cc-set");
      for (const layer of layers) {
        const chip = layer.spec.grey ? theme.grey : colour.kind === "one" ? layer.lut.subarray(0, 3) : theme.text;
        set.append(this.row({
          name: layer.spec.name, shown: layer.spec.name, chip: css([...chip]), shape: layer.spec.shape,
          hidden: this.app.hiddenLayers, others: () => this.app.listed().map((l) => l.spec.name),
          count: () => this.app.layer(layer.spec.name).spec.n,
          pick: (mode) => this.app.selection.layer(layer.spec.name, mode),
        }));
      }
      this.node.append(set);
    }
    if (colour.title && colour.kind !== "one") this.node.append(element("h4", "", colour.title));
    if (colour.kind === "values") this.node.append(...this.ramp());
    if (groups.length) {
      if (colour.kind === "values") this.node.append(element("h4", "cc-second", "group"));
      const shape = this.app.grouped().every((l) => l.spec.shape === "ring") ? "ring" : "dot";
      for (const group of groups) {
        const row = this.row({
          name: group.name, shown: group.label, chip: css(group.colour), shape,
          hidden: () => this.app.hidden, others: () => this.app.groups().map((g) => g.name),
          count: () => (this.app.groups().find((g) => g.name === group.name) || { count: 0 }).count,
          pick: (mode) => this.app.selection.group(group.code, mode),
        });
        row.addEventListener("pointerenter", () => this.app.highlight(group.code));
        row.addEventListener("pointerleave", () => this.app.highlight(null));
        this.node.append(row);
      }
    }
    this.all = element("button", "cc-all", "Show all");
    this.all.type = "button";
    this.all.addEventListener("click", () => {
      this.app.hiddenLayers.clear();
      this.app.hidden.clear();
      this.app.recolour();
    });
    this.node.append(this.all);
  }

  row({ name, shown, chip, shape, hidden, others, count, pick }) {
    const set = () => (typeof hidden === "function" ? hidden() : hidden);
    const row = element("div", "cc-row");
    const toggle = element("button", "cc-toggle");
    toggle.type = "button";
    toggle.title = `${shown}: click to hide or show, double click to show it alone`;
    const dot = element("span", shape === "ring" ? "cc-chip ring" : "cc-chip");
    dot.style.setProperty("--chip", chip);
    const number = element("span", "cc-count");
    toggle.append(dot, element("span", "cc-name", shown), number);
    const only = element("button", "cc-only", "only");
    only.type = "button";
    only.setAttribute("aria-label", `Show only ${shown}`);
    const flip = () => {
      if (!set().delete(name)) set().add(name);
      this.app.recolour();
    };
    const alone = () => {
      const rest = others().filter((other) => other !== name);
      const already = !set().has(name) && rest.every((other) => set().has(other));
      set().clear();
      if (!already) rest.forEach((other) => set().add(other));
      this.app.recolour();
    };
    toggle.addEventListener("click", (event) => (event.shiftKey ? alone() : flip()));
    toggle.addEventListener("dblclick", alone);
    only.addEventListener("click", alone);
    row.append(toggle, only);
    if (this.app.meta.select.on) {
      const select = element("button", "cc-only", "select");
      select.type = "button";
      select.setAttribute("aria-label", `Select ${shown}`);
      select.title = "Select these cells (Shift: add, Alt: take away)";
      select.addEventListener("click", (event) => {
        this.app.tools.notice = "";
        pick(event.altKey ? "take" : event.shiftKey ? "add" : this.app.tools.mode);
      });
      row.append(select);
    }
    row.dataset.group = name;
    this.rows.push({ name, set, toggle, number, count });
    return row;
  }

  ramp() {
    const out = this.range.build();
    if (this.app.meta.layers.some((l) => l.by === "values" && !l.grey)) {
      const none = element("div", "cc-plain");
      const dot = element("span", "cc-chip");
      dot.style.setProperty("--chip", css(this.app.theme.grey));
      none.append(dot, element("span", "", "no value"));
      this.noValue = none;
      out.push(none);
    }
    return out;
  }

  refresh() {
    const { meta, layers } = this.app;
    for (const { name, set, toggle, number, count } of this.rows) {
      toggle.setAttribute("aria-pressed", String(!set().has(name)));
      number.textContent = count().toLocaleString("en-US");
    }
    if (meta.colour.kind === "values") {
      this.range.refresh();
      const coloured = layers.filter((l) => l.spec.by === "values" && !l.spec.grey);
      if (this.noValue) this.noValue.hidden = !coloured.some((l) => l.values.includes(l.spec.values.none));
    }
    this.all.hidden = !this.app.hidden.size && !this.app.hiddenLayers.size;
  }
}
