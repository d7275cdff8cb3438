// The data: bytes from Python to layers of cells, their colours, and which cell is nearest to the pointer.
// These files are joined into one module (see __init__.py), so they share one scope.

const NOWHERE = -32768; // x of a cell without a position
const NO_VALUE = 65535;
const ARRAYS = { i2: Int16Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

// The header, and a function that copies one array out of the bytes.
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "CELL") throw new Error("These are no cells.");
  const start = 8 + view.getUint32(4, true);
  const meta = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const take = (ref) => {
    const Kind = ARRAYS[ref.t];
    const from = start + ref.o;
    return new Kind(bytes.slice(from, from + ref.n * Kind.BYTES_PER_ELEMENT).buffer);
  };
  return { meta, take };
}

class CellLayer {
  constructor() {
    this.hashes = {};
    this.versions = { xy: 0, code: 0, order: 0, lut: 0 };
    this.columns = [];
  }

  // Take over a new description; arrays whose hash is known stay as they are.
  update(spec, take, colour) {
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
    if (this.ordered !== order) {
      this.ordered = order;
      this.order = by === "values" ? orderByValue(this.values) : shuffled(spec.n);
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
    const { low, high } = this.spec.values;
    return this.values[i] === NO_VALUE ? NaN : low + (this.values[i] / 65534) * (high - low);
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
function shuffled(n) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 42;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    const held = order[i];
    order[i] = order[j];
    order[j] = held;
  }
  return order;
}

// Low values first, so that the few high ones are not buried; missing ones first of all.
function orderByValue(values) {
  const rank = (v) => (v === NO_VALUE ? 0 : v + 1);
  const starts = new Uint32Array(65538);
  for (const v of values) starts[rank(v) + 1]++;
  for (let r = 0; r < 65537; r++) starts[r + 1] += starts[r];
  const order = new Uint32Array(values.length);
  for (const i of shuffled(values.length)) order[starts[rank(values[i])]++] = i;
  return order;
}

// ---- colours: arrays [r, g, b] of 0 to 255 ----

function rgb(text) {
  if (text.startsWith("#")) {
    const hex = text.length === 4 ? text.replace(/[0-9a-f]/gi, "$&$&") : text;
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  }
  const parts = (text.match(/[\d.]+/g) || [128, 128, 128]).map(Number);
  return text.startsWith("color(srgb") ? parts.slice(0, 3).map((v) => v * 255) : parts.slice(0, 3);
}

const css = (c) => `rgb(${c.map(Math.round).join(",")})`;
const mix = (a, b, share) => a.map((v, k) => v + (b[k] - v) * share);

function luminance(c) {
  const [r, g, b] = c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The colour itself, or moved towards the text's colour where it would vanish in the background: black and
// deep purple on dark pages, the palest yellows on light ones.
function legible(colour, theme) {
  let out = colour;
  const dark = luminance(theme.back) < 0.5;
  for (let share = 0; share <= 0.6; share += 0.04) {
    out = mix(colour, theme.text, share);
    const [hi, lo] = [luminance(out), luminance(theme.back)].sort((a, b) => b - a);
    if ((hi + 0.05) / (lo + 0.05) >= (dark ? 2 : 1.25)) break;
  }
  return out;
}

function ramp(stops, steps) {
  const colours = stops.map(rgb);
  return Array.from({ length: steps }, (_, i) => {
    const at = (i / (steps - 1)) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    return mix(colours[low], colours[low + 1], at - low);
  });
}

// One RGBA row for each code a layer can have: 256 wide, as many rows as it needs. Alpha 0 hides.
function lookup(layer, colour, theme, alphaOf) {
  const { grey, by, shape } = layer.spec;
  const entries = by === "values" ? 257 : by === "codes" ? layer.missing + 1 : 1;
  const table = new Uint8Array(Math.ceil(entries / 256) * 1024);
  const map = by === "values" && !grey ? ramp(colour.map, 256).map((c) => legible(c, theme)) : null;
  for (let i = 0; i < entries; i++) {
    let c = theme.grey;
    let alpha = 1;
    if (!grey && by === "codes") {
      if (i < layer.missing) c = legible(rgb(colour.palette[i % colour.palette.length]), theme);
      alpha = alphaOf(i);
    } else if (map) {
      if (i < 256) c = map[i];
    } else if (!grey) {
      c = rgb(shape === "ring" ? "#D55E00" : "#0072B2");
      c = legible(c, theme);
    }
    table.set([...c.map(Math.round), Math.round(alpha * 255)], 4 * i);
  }
  return table;
}

// The entry of the lookup table that a cell has.
function entryOf(layer, i, range) {
  if (layer.spec.by === "codes") return layer.codes[i];
  if (layer.spec.by === "one") return 0;
  if (layer.values[i] === NO_VALUE) return 256;
  const t = (layer.valueOf(i) - range[0]) / (range[1] - range[0] || 1);
  return Math.floor(Math.max(0, Math.min(1, t)) * 255 + 0.5);
}

// "real" and "real cells" both read well in a sentence.
function cellsOf(layer) {
  return /cells?$/i.test(layer.spec.name) ? layer.spec.name : `${layer.spec.name} cells`;
}

// `width`: the range that the number stands in; a millionth of it is nought.
function sayNumber(value, width = 0) {
  if (!Number.isFinite(value)) return "no value";
  if (Math.abs(value) <= width * 1e-6) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}
