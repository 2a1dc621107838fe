// The training loss over the steps, as `live.js` hears of them, as one SVG.
const figure = document.querySelector("[data-curve]");
const points = new Map(); // step → loss: a step that was done again counts once
const [height, left, bottom, top] = [240, 52, 28, 12];
let waiting = false;

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw() {
  waiting = false;
  if (points.size === 0) return;
  figure.hidden = false;
  // As wide as there is room, so that the numbers are as large as all other text.
  const width = Math.max(240, figure.clientWidth - 26);
  const steps = [...points.keys()].sort((a, b) => a - b);
  const losses = steps.map((step) => points.get(step));
  const [first, last] = [steps[0], steps.at(-1)];
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const x = (step) => left + ((step - first) / (last - first || 1)) * (width - left - 16);
  const y = (loss) => top + ((high - loss) / (high - low || 1)) * (height - top - bottom);
  const said = `${figure.dataset.label}: ${losses[0].toFixed(4)} → ${losses.at(-1).toFixed(4)}`;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said });
  svg.append(
    element("line", { class: "axis", x1: left, y1: height - bottom, x2: width, y2: height - bottom }),
    element("line", { class: "axis", x1: left, y1: top, x2: left, y2: height - bottom }),
  );
  for (const loss of new Set([low, high])) {
    svg.append(element("text", { x: left - 6, y: y(loss) + 4, "text-anchor": "end" }, loss.toFixed(3)));
  }
  for (const step of new Set([first, last])) {
    const anchor = step === first ? "start" : "end";
    svg.append(element("text", { x: x(step), y: height - 8, "text-anchor": anchor }, `${figure.dataset.x} ${step}`));
  }
  const path = steps.map((step, index) => `${x(step).toFixed(1)},${y(losses[index]).toFixed(1)}`);
  svg.append(element("polyline", { class: "curve", points: path.join(" ") }));
  svg.append(element("circle", { class: "point", cx: x(last), cy: y(losses.at(-1)), r: 4 }));
  figure.replaceChildren(svg, figure.querySelector("figcaption"));
  figure.querySelector("figcaption").textContent = said;
}

document.addEventListener("measured", ({ detail }) => {
  if (typeof detail.train_loss !== "number") return;
  points.set(detail.step, detail.train_loss);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(draw);
});

addEventListener("resize", draw);
