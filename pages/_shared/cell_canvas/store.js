// The arrays that this browser holds, by the hash of what is in them: the server sends each once a session.
// These files are joined into one module (see __init__.py), so they share one scope.

const ARRAYS = { i2: Int16Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
const HELD_LIMIT = 256 * 2 ** 20; // bytes; beyond it the arrays longest unused go, and are asked for if needed
const PATIENCE = 250; // ms that an array may come with another canvas's message before it is asked for

const store = {
  held: new Map(), // hash to array, the longest unused first
  bytes: 0,
  waiting: new Set(), // canvases that lack something

  put(hash, array) {
    if (this.held.has(hash)) return;
    this.held.set(hash, array);
    this.bytes += array.byteLength;
  },

  get(hash) {
    const array = this.held.get(hash);
    if (!array) return undefined;
    this.held.delete(hash);
    this.held.set(hash, array);
    return array;
  },

  trim(keep) {
    for (const [hash, array] of this.held) {
      if (this.bytes <= HELD_LIMIT) return;
      if (keep.has(hash)) continue;
      this.held.delete(hash);
      this.bytes -= array.byteLength;
    }
  },
};

// Take the arrays out of the bytes into the store, and return the header.
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (String.fromCharCode(...bytes.subarray(0, 4)) !== "CELL") throw new Error("These are no cells.");
  const start = 8 + view.getUint32(4, true);
  const meta = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  for (const [hash, [offset, n, kind]] of Object.entries(meta.at)) {
    const Kind = ARRAYS[kind];
    const from = start + offset;
    // a copy: the message itself can go
    if (hash !== meta.code) store.put(hash, new Kind(bytes.slice(from, from + n * Kind.BYTES_PER_ELEMENT).buffer));
  }
  return meta;
}

// The hashes of all arrays that a header names.
function hashesOf(meta) {
  const refs = meta.layers.flatMap((spec) => [spec.xy, spec.codes, spec.values, spec.selected, ...spec.hover]);
  return refs.filter(Boolean).map((ref) => ref.h);
}

// What one canvas waits for: calls `ready(meta)` once all arrays are here, and `ask(hashes)` for what stays away;
// `whenCalm(patience, do)` says when that may be (see loader.js), and returns what takes it back.
class Mailbox {
  constructor(ready, ask, whenCalm) {
    this.ready = ready;
    this.ask = ask;
    this.whenCalm = whenCalm;
    this.hush = () => {};
  }

  receive(bytes) {
    this.meta = unpack(bytes);
    this.hush();
    const others = [...store.waiting].filter((box) => box !== this);
    this.look(true);
    others.forEach((box) => box.look(false));
  }

  look(patient) {
    const hashes = hashesOf(this.meta);
    const lacking = hashes.filter((hash) => !store.get(hash));
    if (!lacking.length) {
      this.stop();
      store.trim(new Set(hashes));
      this.ready(this.meta);
      return;
    }
    store.waiting.add(this);
    if (patient) {
      this.hush = this.whenCalm(PATIENCE, () => this.ask(hashes.filter((hash) => !store.get(hash))));
    }
  }

  stop() {
    this.hush();
    store.waiting.delete(this);
  }
}
