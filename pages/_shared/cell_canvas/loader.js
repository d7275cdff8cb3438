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

// Asking makes Streamlit run the page that it shows once more. Asked between a press and its answer that would undo
// the press, above all a change of page: so whoever asks waits until it is answered, and all has been calm for a while.
const ANSWER = 5000; // ms after which a press is one that nothing answers
const CHANGE = 20000; // the same of a link to another page
const CALM = 1000; // ms after a run in which what it drew, or took away, is settled
let busy = performance.now() + ANSWER; // until when: something may have been pressed before this code was there
let pressed = true; // and not answered yet
let left = null; // the page that a link was pressed on, until another one is there
const running = () => {
  const state = document.querySelector("[data-test-script-state]")?.dataset.testScriptState;
  return state !== undefined && state !== "notRunning";
};
const later = (ms) => { busy = Math.max(busy, performance.now() + ms); };
document.addEventListener("click", (event) => {
  pressed = true;
  const link = event.target instanceof Element && event.target.closest("a[href]");
  if (link) left = location.pathname;
  later(link ? CHANGE : ANSWER);
}, true);
new MutationObserver(() => {
  if (left !== null && left !== location.pathname) left = null;
  if (running()) pressed = false;
  else if (!pressed && left === null) busy = performance.now() + CALM;
}).observe(document.documentElement, { subtree: true, attributeFilter: ["data-test-script-state"] });

// Call `ask` after `patience` ms, as soon as all is calm; never for a canvas that has left the page. Returns what
// takes that back.
function whenCalm(node, patience, ask) {
  let timer = setTimeout(function look() {
    if (!node.isConnected) return;
    if (running() || performance.now() < busy) timer = setTimeout(look, 100);
    else ask();
  }, patience);
  return () => clearTimeout(timer);
}

export default async function (component) {
  const { data, parentElement, setTriggerValue } = component;
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
  const stop = whenCalm(parentElement, PATIENCE_OF_LOADER, () => setTriggerValue("lack", [head.code]));
  const module = await code.module;
  stop();
  return module.default({ ...component, whenCalm });
}
