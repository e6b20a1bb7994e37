// The page: files are dropped, chosen or pasted, and sent to the server a few at a time; each gets a card.

import { classify, forget, hasToken, model, remember } from "./api.js";
import { Card, percent } from "./results.js";

const MAX_CONCURRENT = 4; // requests
const MAX_CARDS = 200; // older ones are removed

const $ = (id) => document.getElementById(id);
const waiting = []; // {file, card, url}
let limits = null;
let underWay = 0;
let answered = 0;
let failed = 0;

async function start() {
  try {
    const served = await model();
    limits = served.limits;
    $("title").textContent = served.name;
    document.title = `${served.name}: classify images`;
    const many = `${served.classes.length} classes`;
    $("sub").textContent = served.reference ? `${many}; predictions before and after alignment` : many;
    $("limits").textContent = `or paste one. Up to ${Math.floor(limits.bytes / 2 ** 20)} MiB and ${(limits.pixels / 1e6).toLocaleString("en")} megapixels each`;
    $("locked").hidden = true;
    $("drop").hidden = false;
  } catch (problem) {
    if (problem.status === 401) askForToken();
    else $("sub").textContent = `This page cannot start: ${problem.message}`;
  }
}

function askForToken() {
  $("sub").textContent = "";
  $("locked-message").textContent = hasToken() ? "Wrong token." : "";
  forget();
  $("locked").hidden = false;
  $("drop").hidden = true;
  $("token").value = "";
  $("token").focus();
}

function add(files) {
  if (!limits) return;
  const added = [];
  for (const file of files) {
    const url = URL.createObjectURL(file);
    const card = new Card(file.name, url);
    added.push(card.node);
    const one = { file, card, url };
    if (file.size > limits.bytes) end(one, `${(file.size / 2 ** 20).toFixed(0)} MiB is too large: at most ${Math.floor(limits.bytes / 2 ** 20)}`);
    else if (!file.size) end(one, "The file is empty, or a folder: drop the images in it.");
    else waiting.push(one);
  }
  $("results").prepend(...added); // the newest set first, in its own order
  for (const old of [...$("results").children].slice(MAX_CARDS)) old.remove();
  showSummary();
  work();
}

function work() {
  while (underWay < MAX_CONCURRENT && waiting.length) {
    underWay += 1;
    send(waiting.shift()).finally(() => {
      underWay -= 1;
      showSummary();
      work();
    });
  }
}

async function send(one) {
  const { file, card } = one;
  card.busy("Classifying …");
  try {
    const prediction = await classify(file, () => card.busy("The server is busy; waiting for a place …"));
    card.show(prediction);
    answered += 1;
    $("status").textContent = `${file.name}: ${prediction.label}, ${percent(prediction.confidence)}`;
  } catch (problem) {
    const again = problem.status === 422 || problem.status === 413 ? null : () => {
      failed -= 1;
      waiting.push(one);
      work();
    };
    end(one, problem.message.replace(/^image: /, ""), again);
    if (problem.status === 401) askForToken();
  }
}

function end({ file, card }, problem, again = null) {
  failed += 1;
  card.fail(problem, again);
  $("status").textContent = `${file.name}: ${problem}`;
}

function showSummary() {
  const open = waiting.length + underWay;
  $("bar").hidden = !$("results").children.length;
  $("summary").textContent = [`${answered} classified`, failed ? `${failed} not` : "", open ? `${open} to go` : ""].filter(Boolean).join(", ");
}

function clear() {
  waiting.length = answered = failed = 0;
  $("results").replaceChildren();
  showSummary();
  $("choose").focus();
}

// Leaving and entering alternate between the elements under the pointer, so the page counts them.
let over = 0;
const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => {
  if (!holdsFiles(event)) return;
  over += 1;
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!holdsFiles(event)) return;
  over = Math.max(0, over - 1);
  document.body.classList.toggle("over", over > 0);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => add(event.clipboardData.files));
$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = ""; // the same file may be chosen again
});
$("clear").addEventListener("click", clear);
$("locked").addEventListener("submit", (event) => {
  event.preventDefault();
  remember($("token").value);
  start();
});

start();
