// The colours' range: a bar from the lowest to the highest value with two handles, and two numbers to type.

const ranges = new Map(); // the handles of each colour title that were moved, for all canvases

class Range {
  constructor(app) {
    this.app = app;
  }

  // The range that the colours span now: what was chosen for this title, or what the page begins with.
  of(colour) {
    return (colour.kind === "values" && ranges.get(colour.title)) || colour.first;
  }

  set(low, high) {
    const { colour } = this.app.meta;
    if (!(Number.isFinite(low) && Number.isFinite(high) && low < high)) return this.refresh();
    ranges.set(colour.title, [low, high]);
    return this.app.recolour();
  }

  get whole() {
    return this.app.meta.colour.range;
  }

  build() {
    const box = element("div", "cc-ramp");
    this.bar = element("div", "cc-bar");
    this.handles = ["high", "low"].map((which) => this.handle(which));
    this.bar.append(...this.handles);
    this.high = element("span", "high");
    this.low = element("span", "low");
    box.append(this.bar, this.high, this.low);
    const typed = element("div", "cc-typed");
    const [low, high] = ["Lowest", "Highest"].map((name, k) => {
      const input = element("input");
      Object.assign(input, { type: "text", inputMode: "decimal", autocomplete: "off" });
      input.setAttribute("aria-label", `${name} value of the colours`);
      input.addEventListener("change", () => {
        const range = [...this.app.range];
        const plain = input.value.trim().replace(/(?<=\d),(?=\d{3}\b)/g, "").replace(",", ".").replace("−", "-");
        range[k] = plain ? Number(plain) : NaN;
        this.set(...range);
      });
      return input;
    });
    this.inputs = [low, high];
    typed.append(low, element("span", "", "to"), high);
    this.reset = element("button", "cc-all", "Whole range");
    this.reset.type = "button";
    this.reset.addEventListener("click", () => this.set(...this.whole));
    return [box, typed, this.reset];
  }

  handle(which) {
    const node = element("div", `cc-handle ${which === "high" ? "top" : "bottom"}`);
    node.tabIndex = 0;
    node.setAttribute("role", "slider");
    node.setAttribute("aria-orientation", "vertical");
    node.setAttribute("aria-label", which === "high" ? "Top of the colours" : "Bottom of the colours");
    const clamp = (value) => Math.max(this.whole[0], Math.min(this.whole[1], value));
    const drag = { from: null, which }; // of handles that lie on each other, the direction says which is meant
    node.addEventListener("pointerdown", (event) => {
      node.setPointerCapture(event.pointerId);
      event.preventDefault();
      node.focus();
      drag.which = which;
      drag.from = event.clientY;
    });
    node.addEventListener("pointermove", (event) => {
      if (!node.hasPointerCapture(event.pointerId) || event.clientY === drag.from) return;
      const { bottom, height } = this.bar.getBoundingClientRect();
      const [low, high] = this.whole;
      if (drag.from !== null && ((this.app.range[1] - this.app.range[0]) / (high - low)) * height < 16) {
        drag.which = event.clientY < drag.from ? "high" : "low";
      }
      drag.from = null;
      this.move(drag.which, clamp(low + ((bottom - event.clientY) / height) * (high - low)));
    });
    node.addEventListener("keydown", (event) => {
      const [low, high] = this.whole;
      const step = (high - low) / (event.shiftKey ? 10 : 50);
      const now = this.app.range[which === "high" ? 1 : 0];
      const to = {
        ArrowUp: now + step, ArrowRight: now + step, ArrowDown: now - step, ArrowLeft: now - step,
        PageUp: now + 5 * step, PageDown: now - 5 * step, Home: low, End: high,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.move(which, clamp(to));
    });
    return node;
  }

  move(which, value) {
    const [low, high] = this.app.range;
    const gap = (this.whole[1] - this.whole[0]) / 200;
    if (which === "high") this.set(low, Math.max(value, low + gap));
    else this.set(Math.min(value, high - gap), high);
  }

  refresh() {
    const { meta, layers, theme, range } = this.app;
    const [low, high] = this.whole;
    const width = high - low || 1;
    const share = (value) => Math.max(0, Math.min(1, (value - low) / width));
    const coloured = layers.filter((l) => l.spec.by === "values" && !l.spec.grey);
    const below = coloured.some((l) => l.spec.values.low < low - 1e-9 || l.spec.values.cut[0]);
    const above = coloured.some((l) => l.spec.values.high > high + 1e-9 || l.spec.values.cut[1]);
    this.low.textContent = (below ? "≤ " : "") + sayNumber(low, width);
    this.high.textContent = (above ? "≥ " : "") + sayNumber(high, width);
    const stops = ramp(meta.colour.map, 33).map((c) => css(legible(c, theme)));
    const at = (k) => 100 * (share(range[0]) + (k / 32) * (share(range[1]) - share(range[0])));
    const said = stops.map((stop, k) => `${stop} ${at(k).toFixed(2)}%`).join(",");
    this.bar.style.setProperty("--ramp", `linear-gradient(to top, ${said})`);
    for (const [k, handle] of [[1, this.handles[0]], [0, this.handles[1]]]) {
      handle.style.bottom = `${100 * share(range[k])}%`;
      handle.setAttribute("aria-valuemin", String(Math.min(low, range[0])));
      handle.setAttribute("aria-valuemax", String(Math.max(high, range[1])));
      handle.setAttribute("aria-valuenow", String(range[k]));
      const text = sayNumber(range[k], range[1] - range[0]);
      handle.setAttribute("aria-valuetext", text);
      const input = this.inputs[k];
      if (input.value !== text) input.value = text;
    }
    this.reset.hidden = range[0] === low && range[1] === high;
  }
}
