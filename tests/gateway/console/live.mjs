// `live.js` on a page with the newest three of five events, and a stream that is opened again; says
// what the page shows then, from the top, and how often it asked for the job's state.
const rows = ["e5", "e4", "e3"].map((id) => ({ dataset: { id } }));
const body = {
  querySelector: () => rows[0],
  querySelectorAll: () => rows,
  prepend: (row) => rows.unshift(row),
};
const section = {
  dataset: { live: "/console/jobs/j", status: "running", ended: "no" },
  querySelector: () => body,
};
function element(name) {
  const cells = [];
  const insertCell = () => cells[cells.push({ append: () => {} }) - 1];
  return name === "time" ? {} : { cells, insertCell };
}
globalThis.document = {
  documentElement: { lang: "en" },
  querySelector: () => section,
  querySelectorAll: () => [],
  createElement: element,
};
const heard = {};
globalThis.EventSource = class {
  addEventListener(name, call) { heard[name] = call; }
};
let asked = 0;
globalThis.fetch = async () => { asked += 1; return { ok: false }; };
await import(process.argv[2]);
for (const last of [6, 7]) {
  heard.open?.();
  for (let number = 1; number <= last; number += 1) {
    const event = { id: `e${number}`, created_at: 1, message: `e${number}`, type: "message" };
    heard.message({ data: JSON.stringify(event) });
  }
}
const shown = rows.map((row) => row.dataset?.id ?? row.cells[1].textContent);
console.log(JSON.stringify({ shown, asked }));
