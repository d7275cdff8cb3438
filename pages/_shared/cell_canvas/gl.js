// Drawing with WebGL 2: positions and codes lie in GPU buffers, a table of colours in a texture, so that
// zooming uploads nothing and hiding a group uploads one small table.

const VERTEX = `#version 300 es
layout(location = 0) in ivec2 position;
layout(location = 1) in uint code;
uniform vec4 placing;
uniform float size;
uniform int by;
uniform vec2 range;
uniform uint none;
uniform vec4 tint; // a colour, and its share
uniform sampler2D table;
flat out vec4 colour;
void main() {
  int entry = by == 0 ? 0 : int(code);
  if (by == 2) {
    entry = code == none ? 256 : int(clamp(float(code) * range.x + range.y, 0.0, 1.0) * 255.0 + 0.5);
  }
  colour = texelFetch(table, ivec2(entry & 255, entry >> 8), 0);
  colour.rgb = mix(colour.rgb, tint.rgb, tint.a);
  bool drawn = colour.a > 0.0 && position.x != ${NOWHERE};
  gl_Position = drawn ? vec4(vec2(position) * placing.xy + placing.zw, 0.0, 1.0) : vec4(2.0, 2.0, 0.0, 1.0);
  gl_PointSize = drawn ? size : 1.0;
}`;

// Dots and rings each have their own: where there is no graphics card, each branch is paid for at every pixel.
const DOT = `#version 300 es
precision highp float;
flat in vec4 colour;
uniform float size;
uniform float radius;
uniform float alpha;
out vec4 pixel;
void main() {
  float ink = clamp(radius + 0.5 - length(gl_PointCoord - 0.5) * size, 0.0, 1.0) * alpha * colour.a;
  pixel = vec4(colour.rgb * ink, ink);
}`;

const RING = `#version 300 es
precision highp float;
flat in vec4 colour;
uniform float size;
uniform float radius;
uniform float stroke;
uniform float halo;
uniform float alpha;
uniform vec3 back;
out vec4 pixel;
void main() {
  float r = length(gl_PointCoord - 0.5) * size;
  float line = clamp(radius + 0.5 - r, 0.0, 1.0);
  float inside = clamp(r - radius + stroke + 0.5, 0.0, 1.0);
  float around = clamp(radius + halo + 0.5 - r, 0.0, 1.0) * clamp(r - radius + stroke + halo + 0.5, 0.0, 1.0);
  float ink = line * inside * alpha * colour.a;
  float under = max(around * 0.8, line * 0.35) * colour.a * (1.0 - ink);
  pixel = vec4(colour.rgb * ink + back * under, ink + under);
}`;

// Setting up a context and its shaders takes longer than drawing, by far where there is no graphics card: those of
// canvases that have left the page are kept, and taken over by the next ones, with the element they belong to.
const SPARE = [];
const MOST_SPARE = 2; // browsers allow few contexts at a time

class WebGLRenderer {
  static start(canvas) {
    const kept = SPARE.splice(0).filter((renderer) => !renderer.lost);
    if (kept.length) {
      const renderer = kept.pop();
      SPARE.push(...kept);
      renderer.takeThePlaceOf(canvas);
      return renderer;
    }
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: true, premultipliedAlpha: true });
    return gl ? new WebGLRenderer(canvas, gl) : null;
  }

  constructor(canvas, gl) {
    this.name = "webgl2";
    this.canvas = canvas;
    this.gl = gl;
    this.uploads = 0;
    this.restore();
  }

  // Stand where the template's canvas stands, as new: without size, picture and what was said of the last cells.
  takeThePlaceOf(canvas) {
    for (const { name } of [...this.canvas.attributes]) this.canvas.removeAttribute(name);
    for (const { name, value } of canvas.attributes) this.canvas.setAttribute(name, value);
    canvas.replaceWith(this.canvas);
    this.uploads = 0;
  }

  // Everything that is lost with the context: the program here, the buffers as they are next needed.
  restore() {
    this.held = new Map();
    this.programs = {};
  }

  program(fragment) {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`The cell canvas could not be set up: ${gl.getProgramInfoLog(program)}`);
    }
    const names = [
      "none", "tint", "placing", "size", "by", "range", "table", "radius", "stroke", "halo", "alpha", "back",
    ];
    return { program, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
  }

  get lost() {
    return this.gl.isContextLost();
  }

  resize(width, height) {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
  }

  forget(layer) {
    const held = this.held.get(layer);
    if (!held) return;
    const gl = this.gl;
    gl.deleteVertexArray(held.array);
    for (const buffer of [held.xy, held.code, held.order]) gl.deleteBuffer(buffer);
    gl.deleteTexture(held.table);
    this.held.delete(layer);
  }

  // Bring a layer's buffers up to date; what has not changed is not sent again.
  upload(layer) {
    const gl = this.gl;
    let held = this.held.get(layer);
    if (!held) {
      held = { array: gl.createVertexArray(), xy: gl.createBuffer(), code: gl.createBuffer(),
               order: gl.createBuffer(), table: gl.createTexture(), versions: {} };
      this.held.set(layer, held);
    }
    const stale = (name) => held.versions[name] !== layer.versions[name];
    gl.bindVertexArray(held.array);
    if (stale("xy")) {
      gl.bindBuffer(gl.ARRAY_BUFFER, held.xy);
      gl.bufferData(gl.ARRAY_BUFFER, layer.xy, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(0);
      gl.vertexAttribIPointer(0, 2, gl.SHORT, 0, 0);
      this.uploads++;
    }
    if (stale("code")) {
      const codes = layer.coded;
      if (codes) {
        gl.bindBuffer(gl.ARRAY_BUFFER, held.code);
        gl.bufferData(gl.ARRAY_BUFFER, codes, gl.STATIC_DRAW);
        gl.enableVertexAttribArray(1);
        const kind = codes instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.UNSIGNED_SHORT;
        gl.vertexAttribIPointer(1, 1, kind, 0, 0);
        this.uploads++;
      } else {
        gl.disableVertexAttribArray(1);
        gl.vertexAttribI4ui(1, 0, 0, 0, 0);
      }
    }
    if (stale("order") || stale("mark")) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, held.order);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, layer.ordered(), gl.STATIC_DRAW);
    }
    gl.bindTexture(gl.TEXTURE_2D, held.table);
    if (stale("lut")) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, layer.lut.length / 1024, 0, gl.RGBA, gl.UNSIGNED_BYTE, layer.lut);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    }
    held.versions = { ...layer.versions };
  }

  // layers: [{layer, style, only, tint}] from below to above (see passes); ratio: device pixels in a CSS pixel.
  draw(layers, view, { ratio, range, back }) {
    const gl = this.gl;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const { layer, style, only, tint } of layers) {
      if (!layer.spec.n) continue;
      this.upload(layer);
      const shape = style.ring ? "ring" : "dot";
      this.programs[shape] ||= this.program(style.ring ? RING : DOT);
      const { program, at } = this.programs[shape];
      gl.useProgram(program);
      gl.uniform1i(at.table, 0);
      gl.uniform3f(at.back, ...back.map((v) => v / 255));
      const { by, values } = layer.spec;
      const radius = style.radius * ratio;
      const halo = style.ring ? ratio : 0;
      gl.uniform4f(at.placing, ...view.placing(layer.spec.box));
      gl.uniform1f(at.size, 2 * (radius + halo + 0.5));
      gl.uniform1f(at.radius, radius);
      gl.uniform1f(at.stroke, style.stroke * ratio);
      gl.uniform1f(at.halo, halo);
      gl.uniform1f(at.alpha, style.alpha);
      gl.uniform4f(at.tint, ...tint.rgb.map((v) => v / 255), tint.share);
      gl.uniform1i(at.by, by === "values" ? 2 : by === "codes" ? 1 : 0);
      if (by === "values") {
        const width = range[1] - range[0] || 1;
        const step = (values.high - values.low) / (values.none - 1);
        gl.uniform2f(at.range, step / width, (values.low - range[0]) / width);
        gl.uniform1ui(at.none, values.none);
      }
      // the selected cells stand last in the order: each pass draws its own stretch
      const others = layer.spec.n - layer.marked;
      const [from, count] = only < 0 ? [0, layer.spec.n] : only ? [others, layer.marked] : [0, others];
      gl.drawElements(gl.POINTS, count, gl.UNSIGNED_INT, 4 * from);
    }
    gl.bindVertexArray(null);
  }

  destroy() {
    for (const layer of [...this.held.keys()]) this.forget(layer);
    if (!this.lost && SPARE.length < MOST_SPARE) {
      this.canvas.remove();
      SPARE.push(this);
      return;
    }
    const lose = this.gl.getExtension("WEBGL_lose_context");
    if (lose) lose.loseContext(); // handed back now
  }
}
