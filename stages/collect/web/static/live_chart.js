// Estimated accuracy over rounds, with its 95 % interval, as SVG. Colours and fonts are in live.css.

const NS = "http://www.w3.org/2000/svg";

function svg(tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const percent = (value) => `${Math.round(100 * value)} %`;

// The points of the curve: the reference before the first answer, then each round with an estimate.
export function curveOf({ rounds, reference }) {
  const measured = rounds.filter((point) => point.accuracy !== undefined);
  return reference && measured.length ? [{ ...reference, seconds: 0, answers: 0 }, ...measured] : [];
}

export function simulatedOf({ rounds }) {
  const last = rounds.at(-1);
  if (!last?.simulated) return "";
  return last.simulated >= last.seconds ? "all" : "some";
}

// A small curve without axes, for the header.
export function sparkline(status) {
  const points = curveOf(status);
  const width = 96, height = 28;
  const box = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true" });
  if (points.length < 2) return box;
  const [low, high] = range(points);
  const longest = points.at(-1).seconds || 1;
  const x = (point) => 2 + (width - 4) * (point.seconds / longest);
  const y = (value) => height - 3 - (height - 6) * ((value - low) / (high - low));
  box.append(svg("path", { d: band(points, x, y), class: "band" }), svg("path", { d: line(points, x, y), class: "line" }));
  return box;
}

// The complete chart, with axes; its text alternative names first and last value.
export function chart(status) {
  const points = curveOf(status);
  const narrow = innerWidth < 640; // drawn for the width it is shown at, so that text keeps its size
  const width = narrow ? 340 : 640, height = narrow ? 220 : 260, left = 52, right = 16, top = 14, bottom = 40;
  const label = points.length ? `Estimated accuracy from ${percent(points[0].accuracy)} before the first answer to ${percent(points.at(-1).accuracy)} now` : "No estimate yet";
  const box = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label });
  if (points.length < 2) return box;
  const [low, high] = range(points);
  const longest = points.at(-1).seconds || 1;
  const unit = longest > 5400 ? 3600 : longest > 90 ? 60 : 1;
  const x = (point) => left + (width - left - right) * (point.seconds / longest);
  const y = (value) => height - bottom - (height - top - bottom) * ((value - low) / (high - low));
  for (const value of ticks(low, high, 5)) {
    box.append(svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }), svg("text", { x: left - 8, y: y(value) + 4, class: "axis end" }, percent(value)));
  }
  for (const value of ticks(0, longest / unit, 5)) {
    box.append(svg("text", { x: x({ seconds: value * unit }), y: height - bottom + 18, class: "axis middle" }, String(value)));
  }
  const time = { 1: "seconds", 60: "minutes", 3600: "hours" }[unit];
  const whose = { all: `simulated ${time}`, some: `${time} of people's time, some of them simulated` }[simulatedOf(status)] ?? `${time} of people's time`;
  box.append(svg("text", { x: (left + width - right) / 2, y: height - 4, class: "axis middle" }, whose));
  box.append(svg("path", { d: band(points, x, y), class: "band" }), svg("path", { d: line(points, x, y), class: "line" }));
  for (const point of points) {
    const dot = svg("circle", { cx: x(point), cy: y(point.accuracy), r: points.length > 30 ? 2 : 4, class: "dot" });
    dot.append(svg("title", {}, `${point.answers} answers: ${percent(point.accuracy)} (${percent(point.low)} to ${percent(point.high)})`));
    box.append(dot);
  }
  return box;
}

function range(points) {
  const low = Math.max(0, Math.floor(10 * Math.min(...points.map((point) => point.low))) / 10);
  const high = Math.min(1, Math.ceil(10 * Math.max(...points.map((point) => point.high))) / 10);
  return [low, Math.max(high, low + 0.1)];
}

function line(points, x, y) {
  return points.map((point, n) => `${n ? "L" : "M"}${x(point).toFixed(1)} ${y(point.accuracy).toFixed(1)}`).join(" ");
}

function band(points, x, y) {
  const upper = points.map((point) => `${x(point).toFixed(1)} ${y(point.high).toFixed(1)}`);
  const lower = points.map((point) => `${x(point).toFixed(1)} ${y(point.low).toFixed(1)}`).reverse();
  return `M${[...upper, ...lower].join(" L")} Z`;
}

// Round numbers between two values, about `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9; value += step) found.push(Number(value.toFixed(6)));
  return found;
}
