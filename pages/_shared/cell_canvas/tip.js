// The cell under the pointer, and what is said about it.

class Tip {
  constructor(node, app) {
    this.node = node;
    this.app = app;
    this.cell = null; // {layer, i}
  }

  cellAt(px, py) {
    const { view, meta } = this.app;
    const visible = (layer, i) => layer.lut[4 * entryOf(layer, i, this.app.range) + 3] > 0;
    let best = null;
    if (!meta) return best;
    for (const layer of this.app.shownLayers().filter((l) => !l.spec.behind).reverse()) {
      const hit = layer.nearest(view, px, py, 10, visible);
      // what lies on top wins, unless something beneath is clearly nearer
      if (hit && (!best || hit.distance + 3 < best.distance)) best = { ...hit, layer };
    }
    return best;
  }

  // Show it at a place of the plot; `null` hides it.
  point(px, py) {
    const hit = px === null ? null : this.cellAt(px, py);
    const same = hit && this.cell && hit.i === this.cell.i && hit.layer === this.cell.layer;
    if (!same && (hit || this.cell)) {
      this.cell = hit;
      if (hit) this.fill(hit);
      this.app.laterOver();
    }
    this.node.hidden = !hit;
    if (!hit) return;
    const { width, height } = this.app.view;
    const { offsetWidth: w, offsetHeight: h } = this.node;
    const left = px + 16 + w > width ? px - 16 - w : px + 16;
    const top = py + 16 + h > height ? py - 16 - h : py + 16;
    this.node.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }

  fill({ layer, i }) {
    const { colour } = this.app.meta;
    const { spec } = layer;
    const at = 4 * entryOf(layer, i, this.app.range);
    const title = element("div", "cc-tip-title");
    const chip = element("span", spec.shape === "ring" ? "cc-chip ring" : "cc-chip");
    chip.style.setProperty("--chip", css([...layer.lut.subarray(at, at + 3)]));
    title.append(chip, element("span", "", spec.name));
    const list = element("dl");
    const add = (name, value) => list.append(element("dt", "", name), element("dd", "", value));
    const group = (colour.kind === "codes" && colour.title) || "group";
    if (layer.codes) add(group, colour.categories[layer.codes[i]] ?? "no label");
    if (layer.values) {
      const { cut, none } = spec.values;
      const sign = cut[0] && layer.values[i] === 0 ? "≤ " : cut[1] && layer.values[i] === none - 1 ? "≥ " : "";
      add(colour.title || "value", sign + sayNumber(layer.valueOf(i)));
    }
    const said = new Set([layer.codes ? group : "", layer.values ? colour.title : ""]);
    for (const column of layer.columns.filter((c) => !said.has(c.name))) {
      const entry = column.data[i];
      add(column.name, column.kind === "number" ? sayNumber(entry) : column.vocab[entry] ?? "none");
    }
    this.node.replaceChildren(title, list);
  }
}
