// Which part of the map is seen: a centre in data units and a zoom, 1 being the whole frame.

const MARGIN = 0.92; // share of the canvas that the frame fills

class View {
  constructor() {
    this.width = this.height = 1;
    this.frameOn([0, 1, 0, 1], true);
  }

  frameOn(extent, equal) {
    this.extent = extent;
    this.equal = equal;
    this.reset();
  }

  reset() {
    const [x0, x1, y0, y1] = this.extent;
    this.cx = (x0 + x1) / 2;
    this.cy = (y0 + y1) / 2;
    this.zoom = 1;
  }

  // CSS pixels for one unit of the data.
  scale() {
    const [x0, x1, y0, y1] = this.extent;
    let sx = (MARGIN * this.width) / (x1 - x0);
    let sy = (MARGIN * this.height) / (y1 - y0);
    if (this.equal) sx = sy = Math.min(sx, sy);
    return { sx: sx * this.zoom, sy: sy * this.zoom };
  }

  toPixels(x, y) {
    const { sx, sy } = this.scale();
    return [this.width / 2 + (x - this.cx) * sx, this.height / 2 - (y - this.cy) * sy];
  }

  toData(px, py) {
    const { sx, sy } = this.scale();
    return [this.cx + (px - this.width / 2) / sx, this.cy - (py - this.height / 2) / sy];
  }

  // Zoom so that what is under the pointer stays under it.
  zoomAt(px, py, factor) {
    const [x, y] = this.toData(px, py);
    this.zoom = Math.max(0.1, Math.min(500, this.zoom * factor));
    const [nx, ny] = this.toData(px, py);
    this.cx += x - nx;
    this.cy += y - ny;
  }

  pan(dx, dy) {
    const { sx, sy } = this.scale();
    this.cx -= dx / sx;
    this.cy += dy / sy;
  }

  // Make room for these boxes as well.
  fit(boxes) {
    const all = [this.extent, ...boxes];
    const low = (k) => Math.min(...all.map((b) => b[k]));
    const high = (k) => Math.max(...all.map((b) => b[k]));
    const [x0, x1, y0, y1] = [low(0), high(1), low(2), high(3)];
    this.cx = (x0 + x1) / 2;
    this.cy = (y0 + y1) / 2;
    this.zoom = 1;
    const { sx, sy } = this.scale();
    this.zoom = Math.min(1, (MARGIN * this.width) / (sx * (x1 - x0)), (MARGIN * this.height) / (sy * (y1 - y0)));
  }

  // Clip-space factors for a layer's whole-number positions: clip = position * (a, b) + (c, d).
  placing(box, width = this.width, height = this.height) {
    const { sx, sy } = this.scale();
    const [x0, x1, y0, y1] = box;
    const a = (((x1 - x0) / 65534) * sx * 2) / width;
    const b = (((y1 - y0) / 65534) * sy * 2) / height;
    return [a, b, ((x0 - this.cx) * sx * 2) / width + 32767 * a, ((y0 - this.cy) * sy * 2) / height + 32767 * b];
  }
}

// Radius, line width and opacity of a layer's points in CSS pixels: few cells large, many small, growing
// gently as one zooms in. `taste`: {size, opacity}, a factor and an opacity (null: what suits the crowd).
function pointStyle(layer, total, view, taste) {
  const area = view.width * view.height;
  const grown = Math.max(1, view.zoom) ** 0.45 * Math.min(1, view.zoom) ** 0.3;
  const ring = layer.spec.shape === "ring";
  // a map of very many cells is fuller, not sharper, for larger points: and they cost
  const least = Math.max(1.2, 1.9 * Math.min(1, 3e4 / Math.max(1, total)) ** 0.25);
  const dot = Math.max(least, Math.min(6.5, 0.4 * Math.sqrt(area / Math.max(1, total)))) * Math.min(3.2, grown);
  const own = Math.max(5.2, Math.min(8, 0.42 * Math.sqrt(area / Math.max(1, layer.spec.n)))) * Math.min(2.4, grown);
  const radius = ((ring ? Math.max(own, dot * 1.2) : dot) / 2) * layer.spec.size * taste.size;
  const crowding = Math.log10(Math.max(1, layer.spec.n / 1000));
  const clear = Math.min(0.2, 0.06 * Math.log2(Math.max(1, view.zoom)));
  const alpha = Math.min(0.95, Math.max(0.35, 0.88 - 0.13 * crowding + clear)) * (layer.spec.grey ? 0.75 : 1);
  const suited = ring ? Math.max(0.85, alpha) : alpha;
  return { ring, radius, stroke: ring ? Math.max(1.2, radius * 0.36) : 0, alpha: taste.opacity ?? suited };
}

// What is drawn in which order: [{layer, style, only, tint}]. With a selection the other cells come first and faded,
// so that those that are selected are never buried.
function passes(layers, styleOf, selecting, theme) {
  const plain = { rgb: [0, 0, 0], share: 0 };
  if (!selecting) return layers.map((layer) => ({ layer, style: styleOf(layer), only: -1, tint: plain }));
  const pale = { rgb: mix(theme.back, theme.text, 0.16), share: 0.82 };
  const strong = { rgb: mix(theme.back, theme.text, 0.62), share: 1 }; // grey cells that are selected
  return [
    ...layers.map((layer) => {
      const style = styleOf(layer);
      const faded = { ...style, radius: 0.85 * style.radius, alpha: 0.55 * style.alpha };
      return { layer, style: faded, only: 0, tint: pale };
    }),
    ...layers.filter((l) => l.mark).map((layer) => {
      return { layer, style: styleOf(layer), only: 1, tint: layer.spec.grey ? strong : plain };
    }),
  ];
}
