// One card per image: the picture, the predicted label, and a bar per class, before and after alignment.

import { element } from "./dom.js";

const MAX_BARS = 10; // classes with a bar of their own; the others share one

export const percent = (p) => {
  const value = 100 * p;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  if (value < 100 && value >= 99.95) return "> 99.9 %";
  return `${value.toFixed(value === 100 || value === 0 ? 0 : 1)} %`;
};

let cards = 0;

export class Card {
  constructor(name, url) {
    const id = `card-${(cards += 1)}`;
    const picture = element("img", { src: url, alt: "", decoding: "async" });
    picture.addEventListener("error", () => picture.replaceWith(element("div", { className: "no-preview", textContent: "no preview" })));
    this.verdict = element("p", { className: "verdict quiet", textContent: "Waiting …" });
    this.detail = element("div", { className: "detail" });
    this.node = element("article", { className: "panel card" },
      element("div", { className: "thumbnail" }, picture),
      element("div", { className: "said" }, element("h2", { id, textContent: name, title: name }), this.verdict, this.detail));
    this.node.setAttribute("aria-labelledby", id);
    this.node.setAttribute("aria-busy", "true");
  }

  busy(text) {
    this.verdict.textContent = text;
  }

  show(prediction) {
    this.#done();
    const { label, confidence, reference } = prediction;
    this.verdict.replaceChildren(element("strong", { textContent: label }), element("span", { textContent: percent(confidence) }));
    if (reference && reference.label === null) { // a reference without labelled images
      this.verdict.append(element("span", { className: "before", textContent: "uniform before alignment" }));
    } else if (reference) {
      const same = reference.label === label;
      const text = `before alignment: ${same ? "" : `${reference.label}, `}${percent(reference.confidence)}`;
      this.verdict.append(element("span", { className: same ? "before" : "before changed", textContent: text }));
    }
    this.detail.replaceChildren(table(prediction));
  }

  fail(problem, retry) {
    this.#done();
    this.node.classList.add("failed");
    this.verdict.replaceChildren(element("span", { className: "bad", textContent: problem[0].toUpperCase() + problem.slice(1) }));
    if (!retry) return;
    const button = element("button", { type: "button", className: "plain", textContent: "Try again" });
    button.addEventListener("click", () => {
      this.detail.replaceChildren();
      this.node.classList.remove("failed");
      retry();
    });
    this.detail.replaceChildren(button);
  }

  #done() {
    this.node.setAttribute("aria-busy", "false");
    this.verdict.classList.remove("quiet");
  }
}

function table({ label, probabilities, reference }) {
  const before = reference?.probabilities;
  const weight = (name) => Math.max(probabilities[name], before?.[name] ?? 0);
  const names = Object.keys(probabilities);
  // Classes that are probable before or after alignment are shown, in the order of the aligned policy.
  const shown = names.toSorted((a, b) => weight(b) - weight(a)).slice(0, MAX_BARS).sort((a, b) => probabilities[b] - probabilities[a]);
  const head = element("tr", {}, column("Class"), before ? column("Before alignment") : null, column("After alignment"));
  const rows = shown.map((name) => element("tr", { className: name === label ? "best" : "" },
    element("th", { scope: "row", textContent: name, title: name }), before ? bar(before[name], "was") : null, bar(probabilities[name], "is")));
  if (names.length > shown.length) rows.push(others(names.length - shown.length, shown, probabilities, before));
  return element("table", { className: before ? "bars two" : "bars" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

function column(text) {
  return element("th", { scope: "col", textContent: text });
}

function bar(share, kind) {
  const fill = element("div", { className: "fill" });
  fill.style.width = `${100 * share}%`;
  return element("td", { className: kind }, element("div", { className: "measure" },
    element("div", { className: "track", ariaHidden: "true" }, fill), element("span", { className: "number", textContent: percent(share) })));
}

function others(count, shown, probabilities, before) {
  const rest = (all) => Math.max(0, 1 - shown.reduce((sum, name) => sum + all[name], 0));
  return element("tr", { className: "others" }, element("th", { scope: "row", textContent: `${count} others` }), before ? bar(rest(before), "was") : null, bar(rest(probabilities), "is"));
}
