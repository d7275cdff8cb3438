// A layer of cells: its arrays, what follows from them, and which cell is nearest to the pointer.

const NOWHERE = -32768; // x of a cell without a position

class CellLayer {
  constructor() {
    this.hashes = {};
    this.versions = { xy: 0, code: 0, order: 0, lut: 0, mark: 0 };
    this.columns = [];
    this.mark = null; // 1 for each selected cell; null where none is
    this.marked = 0;
    this.markHash = "";
  }

  // Take over a new description; arrays whose hash is known stay as they are.
  update(spec, colour) {
    const take = (ref) => store.get(ref.h);
    const fresh = (name, ref) => {
      const hash = ref ? ref.h : "";
      if (this.hashes[name] === hash) return false;
      this.hashes[name] = hash;
      return true;
    };
    const moved = fresh("xy", spec.xy);
    if (moved) {
      this.xy = take(spec.xy);
      this.versions.xy++;
      this.grid = null;
    }
    if (fresh("codes", spec.codes)) this.codes = spec.codes ? take(spec.codes) : null;
    if (fresh("values", spec.values)) this.values = spec.values ? take(spec.values) : null;
    this.columns = spec.hover.map((column) => {
      const old = this.columns.find((c) => c.name === column.name && c.h === column.h);
      return { ...column, data: old ? old.data : take(column) };
    });
    const by = spec.by;
    const shown = `${by} ${by === "one" ? "" : this.hashes[by]}`;
    if (this.shown !== shown) {
      this.shown = shown;
      this.versions.code++;
    }
    const order = `${spec.n} ${by === "values" ? this.shown : ""}`;
    if (this.orderOf !== order) {
      this.orderOf = order;
      this.order = by === "values" ? orderByValue(this.values, spec.values.none) : shuffled(spec.n);
      this.versions.order++;
    }
    this.spec = spec;
    this.missing = colour.categories.length;
    this.counts = null;
    this.centres = moved || this.labelled !== this.hashes.codes ? null : this.centres;
    this.labelled = this.hashes.codes;
    return moved;
  }

  get coded() {
    return this.spec.by === "values" ? this.values : this.spec.by === "codes" ? this.codes : null;
  }

  // Cells of each category; the last entry counts those without one.
  countByCode() {
    if (!this.counts) {
      this.counts = new Uint32Array(this.missing + 1);
      if (this.codes) for (const code of this.codes) this.counts[Math.min(code, this.missing)]++;
    }
    return this.counts;
  }

  // Where each category's label goes: the median position, which outliers do not pull away.
  labelCentres() {
    if (!this.centres && this.codes) {
      const counts = this.countByCode();
      const xs = [...counts].map((n) => new Int16Array(n));
      const ys = [...counts].map((n) => new Int16Array(n));
      const filled = new Uint32Array(counts.length);
      for (let i = 0; i < this.codes.length; i++) {
        const code = this.codes[i];
        if (this.xy[2 * i] === NOWHERE) continue;
        xs[code][filled[code]] = this.xy[2 * i];
        ys[code][filled[code]++] = this.xy[2 * i + 1];
      }
      this.centres = xs.map((x, code) => {
        const n = filled[code];
        if (!n) return null;
        const middle = n >> 1;
        return this.toData(x.subarray(0, n).sort()[middle], ys[code].subarray(0, n).sort()[middle]);
      });
    }
    return this.centres || [];
  }

  toData(ix, iy) {
    const [x0, x1, y0, y1] = this.spec.box;
    return [x0 + ((ix + 32767) / 65534) * (x1 - x0), y0 + ((iy + 32767) / 65534) * (y1 - y0)];
  }

  valueOf(i) {
    const { low, high, none } = this.spec.values;
    return this.values[i] === none ? NaN : low + (this.values[i] / (none - 1)) * (high - low);
  }

  // The order in which the cells are drawn, the selected ones last.
  ordered() {
    if (!this.mark) return this.order;
    const out = new Uint32Array(this.order.length);
    let first = 0;
    let last = out.length - this.marked;
    for (const i of this.order) out[this.mark[i] ? last++ : first++] = i;
    return out;
  }

  // A grid of buckets over the layer's own frame, each with the cells that lie in it.
  buckets() {
    if (!this.grid) {
      const n = this.spec.n;
      const side = Math.max(4, Math.min(512, Math.round(Math.sqrt(n / 3))));
      const starts = new Uint32Array(side * side + 1);
      const of = new Int32Array(n);
      for (let i = 0; i < n; i++) {
        const x = this.xy[2 * i];
        of[i] = x === NOWHERE ? -1 : bucket(x, side) + side * bucket(this.xy[2 * i + 1], side);
        if (of[i] >= 0) starts[of[i] + 1]++;
      }
      for (let b = 0; b < side * side; b++) starts[b + 1] += starts[b];
      const next = starts.slice();
      const cells = new Uint32Array(n);
      for (let i = 0; i < n; i++) if (of[i] >= 0) cells[next[of[i]]++] = i;
      this.grid = { side, starts, cells };
    }
    return this.grid;
  }

  // The nearest visible cell within `reach` CSS pixels of the pointer, as {i, distance}, or null.
  nearest(view, px, py, reach, visible) {
    const [x0, x1, y0, y1] = this.spec.box;
    const [x, y] = view.toData(px, py);
    const { sx, sy } = view.scale();
    const ux = 65534 / (x1 - x0);
    const uy = 65534 / (y1 - y0);
    const ix = (x - x0) * ux - 32767;
    const iy = (y - y0) * uy - 32767;
    const rx = (reach / sx) * ux;
    const ry = (reach / sy) * uy;
    if (ix + rx < -32767 || ix - rx > 32767 || iy + ry < -32767 || iy - ry > 32767) return null;
    const { side, starts, cells } = this.buckets();
    let best = null;
    for (let by = bucket(iy - ry, side); by <= bucket(iy + ry, side); by++) {
      for (let bx = bucket(ix - rx, side); bx <= bucket(ix + rx, side); bx++) {
        for (let c = starts[by * side + bx]; c < starts[by * side + bx + 1]; c++) {
          const i = cells[c];
          const dx = ((this.xy[2 * i] - ix) / ux) * sx;
          const dy = ((this.xy[2 * i + 1] - iy) / uy) * sy;
          const distance = Math.hypot(dx, dy);
          if (distance <= reach && (!best || distance < best.distance) && visible(this, i)) {
            best = { i, distance };
          }
        }
      }
    }
    return best;
  }
}

function bucket(position, side) {
  return Math.max(0, Math.min(side - 1, Math.floor(((position + 32767) * side) / 65535)));
}

// A fixed shuffle, so that no group lies over another only because it stands later in the file.
const shuffles = new Map(); // by number of cells, the last few

function shuffled(n) {
  const known = shuffles.get(n);
  if (known) return known;
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 42;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    const held = order[i];
    order[i] = order[j];
    order[j] = held;
  }
  if (shuffles.size > 3) shuffles.delete(shuffles.keys().next().value);
  shuffles.set(n, order);
  return order;
}

// Low values first, so that the few high ones are not buried; missing ones (`none`) first of all.
function orderByValue(values, none) {
  const rank = (v) => (v === none ? 0 : v + 1);
  const starts = new Uint32Array(none + 3);
  for (const v of values) starts[rank(v) + 1]++;
  for (let r = 0; r < none + 2; r++) starts[r + 1] += starts[r];
  const order = new Uint32Array(values.length);
  for (const i of shuffled(values.length)) order[starts[rank(values[i])]++] = i;
  return order;
}
