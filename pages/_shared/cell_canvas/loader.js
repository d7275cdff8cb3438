// What Streamlit sends with every message: it takes the canvas's own code out of the data, where that travels once
// a session like any other array (see store.js), and hands on to it.

const PATIENCE_OF_LOADER = 250; // ms that another canvas's message may bring the code before it is asked for
const codes = new Map(); // hash of the code to {module, found}: its promise, and what keeps it

function codeOf(hash) {
  if (!codes.has(hash)) {
    const code = {};
    code.module = new Promise((found) => { code.found = found; });
    codes.set(hash, code);
  }
  return codes.get(hash);
}

export default async function (component) {
  const { data, setTriggerValue } = component;
  if (!data) return undefined;
  const size = new DataView(data.buffer, data.byteOffset).getUint32(4, true);
  const head = JSON.parse(new TextDecoder().decode(data.subarray(8, 8 + size)));
  const code = codeOf(head.code);
  const here = head.at[head.code];
  if (here && !code.here) {
    code.here = true;
    const text = data.slice(8 + size + here[0], 8 + size + here[0] + here[1]);
    code.found(import(URL.createObjectURL(new Blob([text], { type: "text/javascript" }))));
  }
  const timer = setTimeout(() => setTriggerValue("lack", [head.code]), PATIENCE_OF_LOADER);
  const module = await code.module;
  clearTimeout(timer);
  return module.default(component);
}
