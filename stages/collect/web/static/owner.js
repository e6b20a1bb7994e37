// The owner's page: progress and quality, refreshed automatically.

import { element } from "./dom.js";
import { get } from "./answer_retry.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 3000;

const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
const number = (value, places = 2) => (value === null ? "–" : value.toFixed(places));
const seconds = (value) => (value === null ? "–" : `${(value / 1000).toFixed(1)} s`);
const KINDS = { comparison: "which label", image_comparison: "which image", label: "which class", verdict: "is it right", rating: "how well" };

function table(id, columns, rows) {
  const head = element("thead", {}, element("tr", {}, ...columns.map(([name]) => element("th", { scope: "col", textContent: name }))));
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {}, ...columns.map(([, cell]) => {
    const value = cell(row);
    return value instanceof Node ? element("td", {}, value) : element("td", { textContent: value });
  }))));
  $(id).replaceChildren(head, body);
  $(id).closest("section").hidden = !rows.length;
}

function link(row) {
  return element("a", { href: row.link, textContent: row.link.replace(/^https?:\/\//, "").replace(/(enter\/.{6}).*/, "$1…") });
}

async function refresh() {
  try {
    const status = await get("status");
    const share = status.total ? status.done / status.total : 1;
    $("title").textContent = `${status.done} of ${status.total} answers`;
    $("sub").textContent = `${status.items} questions (${KINDS[status.question]}), ${status.each} ${status.each === 1 ? "person" : "people"} each`;
    $("estimate").hidden = !status.estimate;
    $("estimate").textContent = status.estimate && `Policy of the last make ppo. ${status.estimate}`;
    $("bar").setAttribute("aria-valuenow", Math.round(100 * share));
    $("bar-fill").style.width = `${100 * share}%`;
    if (status.live) await (await import("./live_panel.js")).showOwner($("live"), table);
    table("people", [["Name", (r) => r.name], ["Answered", (r) => r.mine], ["Holds now", (r) => r.holding], ["Questions left", (r) => r.left], ["Personal link", link]], status.people);
    table("questions", [["Question", (r) => KINDS[r.question]], ["Judgments", (r) => r.judgments], ["Items", (r) => r.items], ["People", (r) => r.annotators], ["Alpha", (r) => number(r.alpha)], ["Agreement", (r) => percent(r.agreement)], ["No answer", (r) => percent(r.no_answer)]], status.quality.questions ?? []);
    table("annotators", [["Name", (r) => r.annotator], ["Judgments", (r) => r.judgments], ["Agreement", (r) => percent(r.agreement)], ["Consistency", (r) => `${percent(r.consistency)} of ${r.repeats}`], ["Gold accuracy", (r) => `${percent(r.gold_accuracy)} of ${r.gold}`], ["First side", (r) => percent(r.first_side)], ["p", (r) => number(r.side_bias_p)], ["Median", (r) => seconds(r.median_ms)], ["Fast", (r) => percent(r.fast)], ["No answer", (r) => percent(r.no_answer)]], status.quality.annotators ?? []);
    $("message").textContent = "";
  } catch (error) {
    $("message").textContent = error.status ? error.message : "No connection; trying again.";
    $("message").classList.add("bad");
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
