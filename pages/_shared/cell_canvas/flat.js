// Drawing without WebGL 2: a plain 2D canvas, up to a number of cells that it can bear. Better here than plotly,
// whose fast traces need WebGL too and whose SVG crawls from some thousand cells on: the same tools, keys,
// legend and selection stay, nothing is sent anew, and the server need not be asked. The plotly chart is there
// for who wants it, by ?plain=1 in the address.

const FLAT_LIMIT = 20000;

class FlatRenderer {
  constructor(canvas) {
    this.name = "canvas2d";
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.uploads = 0;
    this.lost = false;
  }

  resize(width, height) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
  }

  forget() {}

  draw(layers, view, { ratio, range, back }) {
    const pen = this.context;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    const cells = new Map(layers.map(({ layer }) => [layer, layer.spec.n])); // a layer can be drawn in two passes
    const total = [...cells.values()].reduce((sum, n) => sum + n, 0);
    const share = Math.min(1, FLAT_LIMIT / Math.max(1, total));
    for (const { layer, style, only, tint } of layers) {
      // the order is shuffled, or by value: its first part would be a biased choice, every k-th is not
      const shown = Math.round(layer.spec.n * share);
      for (let k = 0; k < shown; k++) {
        const i = layer.order[Math.floor(k / share)];
        if (layer.xy[2 * i] === NOWHERE) continue;
        if (only >= 0 && only !== (layer.mark ? layer.mark[i] : 0)) continue;
        const at = 4 * entryOf(layer, i, range);
        const alpha = layer.lut[at + 3] / 255;
        if (!alpha) continue;
        const [x, y] = view.toPixels(...layer.toData(layer.xy[2 * i], layer.xy[2 * i + 1]));
        if (x < -9 || y < -9 || x > view.width + 9 || y > view.height + 9) continue;
        pen.beginPath();
        pen.arc(x, y, style.ring ? style.radius - style.stroke / 2 : style.radius, 0, 2 * Math.PI);
        pen.globalAlpha = alpha * style.alpha;
        const ink = css(mix([...layer.lut.subarray(at, at + 3)], tint.rgb, tint.share));
        if (style.ring) {
          pen.lineWidth = style.stroke + 1.6;
          pen.strokeStyle = css(back);
          pen.stroke();
          pen.lineWidth = style.stroke;
          pen.strokeStyle = ink;
          pen.stroke();
        } else {
          pen.fillStyle = ink;
          pen.fill();
        }
      }
    }
    pen.globalAlpha = 1;
  }

  destroy() {}
}
