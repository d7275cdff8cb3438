// The same as numbers: a table of the groups, for screen readers always, for everybody at the press of a button.

class CellTable {
  constructor(node, app) {
    this.table = node.querySelector("table");
    this.app = app;
  }

  // A little later: the picture comes first.
  update() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(), 60);
  }

  fill() {
    const { meta, selection } = this.app;
    const layers = this.app.listed();
    const rows = this.app.groups().length ? this.byGroup() : this.byLayer();
    const caption = [meta.summary, selection.n ? `${selection.n.toLocaleString("en-US")} selected` : ""];
    const signature = JSON.stringify([caption, rows]);
    if (signature === this.signature) return;
    this.signature = signature;
    const [head, ...body] = rows;
    const line = (cells, tag) => {
      const row = element("tr");
      cells.forEach((text, k) => {
        const cell = element(k && tag === "td" ? "td" : "th", "", text);
        if (cell.tagName === "TH") cell.scope = tag === "th" ? "col" : "row";
        row.append(cell);
      });
      return row;
    };
    const top = element("thead");
    top.append(line(head, "th"));
    const rest = element("tbody");
    rest.append(...body.map((cells) => line(cells, "td")));
    this.table.replaceChildren(element("caption", "", caption.filter(Boolean).join("; ")), top, rest);
    this.table.dataset.layers = layers.length;
  }

  byGroup() {
    const { selection, meta } = this.app;
    const layers = this.app.listed();
    const coded = layers.filter((l) => l.codes);
    const selected = coded.map((l) => selection.countByCode(l));
    const say = (n) => n.toLocaleString("en-US");
    const title = meta.colour.kind === "codes" && meta.colour.title ? meta.colour.title : "group";
    const rows = this.app.groups().map((group) => [
      group.label, ...coded.map((l) => say(l.countByCode()[group.code])),
      say(selected.reduce((sum, counts) => sum + counts[group.code], 0)),
    ]);
    return [[title, ...coded.map(cellsOf), "selected"], ...rows, ...this.totals(coded)];
  }

  totals(coded) {
    const say = (n) => n.toLocaleString("en-US");
    const { n } = this.app.selection;
    const total = ["all", ...coded.map((l) => say(l.spec.n)), say(coded.reduce((sum, l) => sum + l.marked, 0))];
    const rest = this.app.listed().filter((l) => !coded.includes(l))
      .map((l) => [cellsOf(l), ...coded.map((_, k) => (k ? "" : say(l.spec.n))), say(l.marked)]);
    return n || coded.length ? [total, ...rest] : rest;
  }

  // Coloured by values, or by nothing: what there is of each layer.
  byLayer() {
    const { meta } = this.app;
    const layers = this.app.listed();
    const valued = layers.some((l) => l.values);
    const title = meta.colour.title || "value";
    const head = ["cells", "number", ...(valued ? [`${title}, lowest`, "median", "highest"] : []), "selected"];
    return [head, ...layers.map((l) => [
      l.spec.name, l.spec.n.toLocaleString("en-US"), ...(valued ? spread(l) : []), l.marked.toLocaleString("en-US"),
    ])];
  }
}

// Lowest, median and highest value of a layer in words.
function spread(layer) {
  if (!layer.values) return ["", "", ""];
  if (layer.spreadOf !== layer.values) {
    const { low, high, none } = layer.spec.values;
    const counts = new Uint32Array(none + 1);
    for (const v of layer.values) counts[v]++;
    const n = layer.values.length - counts[none];
    const at = (k) => {
      let v = 0;
      for (let seen = counts[0]; seen <= k && v < none - 1; seen += counts[v]) v++;
      return sayNumber(n ? low + (v / (none - 1)) * (high - low) : NaN, high - low);
    };
    layer.spread = [at(0), at(n >> 1), at(n - 1)];
    layer.spreadOf = layer.values;
  }
  return layer.spread;
}
