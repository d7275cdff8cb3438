// Colours as arrays [r, g, b] of 0 to 255, the tables that the cells are drawn by, and numbers in words.

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
  if (layer.values[i] === layer.spec.values.none) return 256;
  const t = (layer.valueOf(i) - range[0]) / (range[1] - range[0] || 1);
  return Math.floor(Math.max(0, Math.min(1, t)) * 255 + 0.5);
}

// "real" and "real cells" both read well in a sentence.
function cellsOf(layer) {
  return /cells?$/i.test(layer.spec.name) ? layer.spec.name : `${layer.spec.name} cells`;
}

// `width`: the range that the number stands in; given, it is said to a thousandth of that.
function sayNumber(value, width = 0) {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.max(Math.abs(value), width);
  if (size >= 1e6 || (size && size < 1e-3)) return value ? value.toExponential(2) : "0";
  if (!width) return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const digits = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(width))));
  const rounded = Number(value.toFixed(digits)) + 0; // no minus nought
  return rounded.toLocaleString("en-US", { maximumFractionDigits: digits });
}
