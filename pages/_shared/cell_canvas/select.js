// Which cells lie in a box or a lasso, and selections as bits.

// The test of a polygon: the grid of buckets (see CellLayer.buckets) is walked row by row; buckets that no edge
// touches are in or out as a whole, and only the cells of the others are tested one by one.
// `polygon`: [[x, y], ...] in CSS pixels, closed by itself; calls `take(i)` for each cell inside (nonzero winding).
function cellsInside(layer, view, polygon, take) {
  if (!layer.spec.n || polygon.length < 3) return;
  const { side, starts, cells } = layer.buckets();
  const [x0, x1, y0, y1] = layer.spec.box;
  const unit = side / 65535; // buckets in one step of the whole-number positions
  const corners = polygon.map(([px, py]) => {
    const [x, y] = view.toData(px, py);
    return [((x - x0) / (x1 - x0)) * 65534 * unit, ((y - y0) / (y1 - y0)) * 65534 * unit];
  });
  const edges = corners.map((from, k) => [...from, ...corners[(k + 1) % corners.length]]);
  const touched = touchedBuckets(edges, side);
  const { xy } = layer;
  for (let row = 0; row < side; row++) {
    const middle = crossings(edges, row + 0.5);
    const first = row * side;
    const near = edges.filter((e) => Math.max(e[1], e[3]) >= row && Math.min(e[1], e[3]) <= row + 1);
    if (!near.length && !middle.length) continue;
    for (let column = 0, at = 0, winding = 0; column < side; column++) {
      while (at < middle.length && middle[at][0] <= column + 0.5) winding += middle[at++][1];
      const b = first + column;
      if (touched[b]) {
        for (let c = starts[b]; c < starts[b + 1]; c++) {
          const i = cells[c];
          if (windingAt(near, (xy[2 * i] + 32767) * unit, (xy[2 * i + 1] + 32767) * unit)) take(i);
        }
      } else if (winding) {
        for (let c = starts[b]; c < starts[b + 1]; c++) take(cells[c]);
      }
    }
  }
}

// 1 for each bucket that an edge may run through, a hair's breadth more than too few.
function touchedBuckets(edges, side) {
  const touched = new Uint8Array(side * side);
  const slack = 1e-3;
  const inside = (v) => Math.max(0, Math.min(side - 1, Math.floor(v)));
  for (const [ax, ay, bx, by] of edges) {
    const low = Math.min(ay, by) - slack;
    const high = Math.max(ay, by) + slack;
    if (high < 0 || low >= side) continue;
    for (let row = inside(low); row <= inside(high); row++) {
      // the part of the edge that lies in this row
      const t = (y) => (ay === by ? 0 : Math.max(0, Math.min(1, (y - ay) / (by - ay))));
      const ends = ay === by ? [ax, bx] : [ax + t(row - slack) * (bx - ax), ax + t(row + 1 + slack) * (bx - ax)];
      const left = Math.min(...ends) - slack;
      const right = Math.max(...ends) + slack;
      if (right < 0 || left >= side) continue;
      touched.fill(1, row * side + inside(left), row * side + inside(right) + 1);
    }
  }
  return touched;
}

// Where a horizontal line meets the edges: [x, +1 or -1], from left to right.
function crossings(edges, y) {
  const found = [];
  for (const [ax, ay, bx, by] of edges) {
    if (ay <= y !== by <= y) found.push([ax + ((y - ay) / (by - ay)) * (bx - ax), by > ay ? 1 : -1]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}

function windingAt(edges, x, y) {
  let winding = 0;
  for (const [ax, ay, bx, by] of edges) {
    if (ay <= y !== by <= y && ax + ((y - ay) / (by - ay)) * (bx - ax) <= x) winding += by > ay ? 1 : -1;
  }
  return winding;
}

// A path without the points that lie closer together than a hand can mean.
function thinned(path, least = 1.5) {
  const out = [];
  for (const point of path) {
    const last = out[out.length - 1];
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= least) out.push(point);
  }
  return out;
}

// ---- bits, the first cell in the highest bit (numpy's packbits) ----

function toBits(mark) {
  const bytes = new Uint8Array(Math.ceil(mark.length / 8));
  for (let i = 0; i < mark.length; i++) if (mark[i]) bytes[i >> 3] |= 128 >> (i & 7);
  return bytes;
}

function fromBits(bytes, n) {
  const mark = new Uint8Array(n);
  for (let i = 0; i < n; i++) mark[i] = (bytes[i >> 3] >> (7 - (i & 7))) & 1;
  return mark;
}

function base64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}

const countOf = (mark) => mark.reduce((sum, on) => sum + on, 0);

// The selection of one canvas: `mark` of each layer (1 for selected cells), and what is said to the server.
class Selection {
  constructor(app) {
    this.app = app;
    this.seq = 0; // counts what was sent, so that an older answer does not undo a newer lasso
    this.n = 0;
  }

  // What the server says is selected; its word counts unless it has yet to hear of a later selection. Returns whether
  // that changed anything.
  take(meta, first) {
    let changed = false;
    const { seq } = meta.select;
    for (const layer of this.app.layers) if (layer.mark && layer.mark.length !== layer.spec.n) this.put(layer, null);
    this.count();
    if (!first && seq < this.seq) return false;
    this.seq = Math.max(this.seq, seq);
    for (const layer of this.app.layers) {
      const ref = layer.spec.selected;
      const known = ref ? ref.h : "";
      if (layer.markHash === known) continue;
      layer.markHash = known;
      const mark = ref ? fromBits(store.get(ref.h), layer.spec.n) : null;
      // the echo of what was selected here: nothing to draw
      if (mark && layer.mark ? mark.every((on, i) => on === layer.mark[i]) : mark === layer.mark) continue;
      this.put(layer, mark);
      changed = true;
    }
    this.count();
    return changed;
  }

  put(layer, mark) {
    layer.mark = mark;
    layer.marked = mark ? countOf(mark) : 0;
    if (!layer.marked) layer.mark = null;
    layer.versions.mark++;
  }

  count() {
    this.n = this.app.layers.reduce((sum, l) => sum + l.marked, 0);
  }

  // Whether a cell can be taken: it is on the screen's map and not hidden in the legend.
  reachable(layer) {
    if (layer.spec.behind || this.app.hiddenLayers.has(layer.spec.name)) return () => false;
    const { grey, by } = layer.spec;
    const { xy, codes } = layer;
    const hidden = this.app.hiddenCodes();
    if (grey || by !== "codes" || !hidden.size) return (i) => xy[2 * i] !== NOWHERE;
    return (i) => xy[2 * i] !== NOWHERE && !hidden.has(codes[i]);
  }

  // Change the selection by what `visit(layer, take)` takes; returns how many cells it took.
  change(mode, visit) {
    const found = this.app.layers.map((layer) => {
      const mark = new Uint8Array(layer.spec.n);
      const can = this.reachable(layer);
      let n = 0;
      visit(layer, (i) => {
        if (mark[i] || !can(i)) return;
        mark[i] = 1;
        n++;
      });
      return { layer, mark, n };
    });
    const n = found.reduce((sum, f) => sum + f.n, 0);
    if (!n && mode !== "invert") return 0;
    for (const { layer, mark } of found) {
      const old = layer.mark;
      if (mode === "add" && old) for (let i = 0; i < mark.length; i++) mark[i] |= old[i];
      if (mode === "take") for (let i = 0; i < mark.length; i++) mark[i] = old && old[i] && !mark[i] ? 1 : 0;
      if (mode === "invert" && old) for (let i = 0; i < mark.length; i++) if (old[i]) mark[i] = 0;
      this.put(layer, mark);
    }
    this.tell(mode);
    return n;
  }

  inside(polygon, mode) {
    return this.change(mode, (layer, take) => {
      if (!this.app.hiddenLayers.has(layer.spec.name)) cellsInside(layer, this.app.view, polygon, take);
    });
  }

  everything(mode = "replace") {
    return this.change(mode, (layer, take) => {
      for (let i = 0; i < layer.spec.n; i++) take(i);
    });
  }

  // All cells of a group, or of a layer, as the legend names them.
  group(code, mode) {
    return this.change(mode, (layer, take) => {
      if (layer.spec.grey || !layer.codes) return;
      for (let i = 0; i < layer.spec.n; i++) if (layer.codes[i] === code) take(i);
    });
  }

  layer(name, mode) {
    return this.change(mode, (layer, take) => {
      if (layer.spec.name === name) for (let i = 0; i < layer.spec.n; i++) take(i);
    });
  }

  clear() {
    if (!this.n) return;
    this.app.layers.forEach((layer) => this.put(layer, null));
    this.tell("replace");
  }

  // Draw it and send it: how it came about, and for each layer with a selected cell its bits, and which cells
  // it was drawn on.
  tell(mode) {
    this.count();
    this.seq++;
    const layers = {};
    for (const layer of this.app.layers) {
      layer.markHash = null; // the server's next word is taken, whatever it is
      const { name, xy, n } = layer.spec;
      if (layer.mark) layers[name] = { of: xy.h, n, bits: base64(toBits(layer.mark)) };
    }
    this.app.selectionChanged();
    this.app.send("select", { seq: this.seq, mode, layers });
  }

  // Selected cells of each category in a layer; the last entry counts those without one.
  countByCode(layer) {
    const counts = new Uint32Array(layer.missing + 1);
    if (layer.mark && layer.codes) {
      for (let i = 0; i < layer.mark.length; i++) if (layer.mark[i]) counts[Math.min(layer.codes[i], layer.missing)]++;
    }
    return counts;
  }
}
