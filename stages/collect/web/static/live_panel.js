// What the answers have achieved: a strip in the header of the annotator's page that opens the details, and a section of
// the owner's page. Asked for every few seconds, after the questions: nobody waits for it.

import { get } from "./answer_retry.js";
import { element } from "./dom.js";
import { chart, curveOf, sparkline } from "./live_chart.js";

const REFRESH_MS = 4000;
const NOTE = "Estimated from audit questions: about images drawn at random, which no model chose and nothing is trained on. The band holds the true value with 95 % probability.";

const percent = (value) => `${Math.round(100 * value)} %`;

function points(gain) {
  return gain < 0.001 ? "less than 0.1 points" : `about ${(100 * gain).toFixed(1)} points`;
}

// What the training process does, in a few words.
function activity({ state, process }) {
  if (process) return process;
  if (state.training !== null && state.training !== undefined) return "learning from the newest answers";
  if (state.message) return `waiting for more answers: ${state.message}`;
  return state.waiting_for ? `next training after ${state.waiting_for} more ${state.waiting_for === 1 ? "answer" : "answers"}` : "";
}

function summary(status) {
  const { estimate, rounds } = status;
  if (!estimate) return rounds.length ? `Trained on ${rounds.at(-1).answers} answers` : "Learning starts with the first answers";
  const range = `${Math.round(100 * estimate.low)} to ${percent(estimate.high)}`;
  return `estimated accuracy (${range})`;
}

function details(status) {
  const { estimate } = status;
  const drawn = curveOf(status).length > 1;
  return [
    estimate && element("p", { className: "live-figure" }, element("strong", { textContent: percent(estimate.accuracy) }), element("span", { className: "quiet", textContent: `estimated accuracy, between ${percent(estimate.low)} and ${percent(estimate.high)}` })),
    drawn ? chart(status) : null,
    ...status.sentences.map((text, n) => element("p", { className: n === status.sentences.length - 1 ? `live-advice ${status.advice === "stop" ? "stop" : ""}` : "", textContent: text })),
    drawn ? element("p", { className: "quiet small", textContent: NOTE }) : null,
    element("p", { className: "quiet small", textContent: activity(status) }),
  ];
}

function replace(box, children) {
  box.replaceChildren(...children.filter(Boolean));
}

// On the annotator's page: a strip below the counts, and a dialog.
export function start() {
  const figure = element("strong", {});
  const picture = element("span", { className: "live-picture" });
  const text = element("span", { className: "live-text quiet" });
  const next = element("span", { className: "live-next quiet" });
  const doing = element("span", { className: "live-doing quiet" });
  const strip = element("button", { type: "button", id: "live-strip", className: "live-strip", title: "What the answers have achieved" }, figure, picture, text, next, doing);
  const inside = element("div", {});
  const close = element("button", { type: "button", className: "plain", textContent: "Close" });
  const dialog = element("dialog", { id: "live-dialog", className: "live-dialog" }, element("h2", { textContent: "What the answers have achieved" }), inside, close);
  document.querySelector("header").append(strip);
  document.body.append(dialog);
  let status = null;
  strip.addEventListener("click", () => status && (replace(inside, details(status)), dialog.showModal()));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => document.getElementById("question").focus({ preventScroll: true }));

  async function refresh() {
    try {
      status = await get("live");
      figure.textContent = status.estimate ? percent(status.estimate.accuracy) : "";
      replace(picture, curveOf(status).length > 1 ? [sparkline(status)] : []);
      text.textContent = summary(status);
      next.textContent = status.forecast ? `another minute: ${points(status.forecast.minute.gain)}` : "";
      doing.textContent = activity(status);
      strip.classList.toggle("stop", status.advice === "stop");
      if (dialog.open) replace(inside, details(status));
    } catch {
      doing.textContent = "";
    }
    setTimeout(refresh, REFRESH_MS);
  }
  refresh();
}

// On the owner's page: the same, and what audit answers say of each class.
export async function showOwner(section, table) {
  const status = await get("live");
  section.hidden = false;
  replace(section.querySelector("#live-details"), details(status));
  const accuracy = (row) => (row.accuracy === undefined ? "no audit question yet" : `${percent(row.accuracy)} (${percent(row.low)} to ${percent(row.high)})`);
  table("live-classes", [["Class", (r) => r.name], ["Share of predictions", (r) => percent(r.predicted)], ["Share of audit answers", (r) => percent(r.named)], ["Audited where predicted", (r) => r.audited], ["Accuracy where predicted", accuracy]], status.classes ?? []);
}
