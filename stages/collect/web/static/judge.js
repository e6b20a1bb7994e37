// The judging page: a queue of questions with preloaded images; one key press per answer.

import { entryOf } from "./key_names.js";
import { get, Outbox, post } from "./answer_retry.js";
import { allAnswered, noConnection, nothingFree } from "./end_text.js";
import { loadKind } from "./kind_module.js";
import { isLoaded, load } from "./question_images.js";
import { View } from "./view.js";

const MAX_UNDO = 100; // answers that can be taken back, also after a reload
const SLOW_MS = 300; // until the page reports that an image is slow
const PACE_WINDOW_MS = 5 * 60_000; // the pace is measured over these last minutes

const here = location.pathname;
const session = await get("session").catch((error) => ({ error }));
if (session.error) {
  document.getElementById("question").textContent = `This page cannot start: ${session.error.message}`;
  throw session.error;
}

document.title = `Judge ${session.item}s`;
const queue = []; // tasks to come, each with its images
// {id, task} in order, without entries that an older version of this page stored
let history = JSON.parse(localStorage.getItem(`history ${here}`) ?? "[]").filter(({ task }) => task.image_choices);
let current = null;
let onScreen = null; // the question that is shown; keys answer the current one only when it is shown
let shownAt = 0;
let digits = "";
let fetching = false;
let progress = session.progress;
let mineWhenAsked = progress.mine;
let answeredSince = 0;
const times = [];
const skipping = new Set(); // skipped, but the server may not know yet

const view = new View(session, { answer, action, kind: await loadKind(session) });
const outbox = new Outbox(here, {
  onChange: (box) => view.waiting(box),
  onProgress: (counts) => {
    showCounts(counts);
  },
  onRefused: (refused) => {
    const late = refused.filter((one) => one.late).length;
    const first = refused.find((one) => !one.late) ?? refused[0];
    view.message(late === refused.length ? `Not counted: ${first.reason}` : `Not stored: ${first.reason}; this browser keeps the answer`, true);
  },
});
const choicesOf = (task) => [...task.image_choices, ...(task.choices ?? session.choices)];
const numbered = () => (current ? choicesOf(current).filter(({ number }) => number !== null) : []);

// The server's counts, and the answers that it has not counted yet.
function showCounts(counts) {
  progress = counts;
  mineWhenAsked = counts.mine;
  answeredSince = outbox.entries.reduce((sum, entry) => sum + (entry.retracts ? -1 : 1), 0);
  showProgress();
}

function showProgress() {
  const now = Date.now();
  while (times.length && now - times[0] > PACE_WINDOW_MS) times.shift();
  const span = times.length > 4 ? (now - times[0]) / 60_000 : 0;
  const pace = span ? Math.max(1, Math.round((times.length - 1) / span)) : 0;
  const left = Math.max(0, progress.left - Math.max(0, answeredSince));
  view.progress(progress, mineWhenAsked + answeredSince, pace, left);
}

async function fill() {
  if (fetching || queue.length >= session.ahead) return;
  fetching = true;
  try {
    const holding = [...new Set([...queue.map((task) => task.key), ...outbox.items, ...skipping, ...(current ? [current.key] : [])])];
    const before = outbox.entries.length ? null : outbox.sent;
    const reply = await post("next", { holding, wanted: session.ahead - queue.length });
    const known = new Set([...queue.map((task) => task.key), ...(current ? [current.key] : [])]);
    queue.push(...reply.tasks.filter((task) => !known.has(task.key)).map(load));
    // Otherwise the reply may have been counted before an answer on its way was stored.
    if (!outbox.entries.length && outbox.sent === before) showCounts(reply.progress);
    if (!current && queue.length) await advance();
    else if (!current) finished(reply.wait_seconds);
  } catch (error) {
    if (error.status === 401 || error.status === 403) view.finish("Your link is no longer valid", [["Ask the owner of this collection for a new one. Answers that wait here are sent when you open it."]], false);
    else {
      if (!current) view.finish(...noConnection(session, error), false);
      setTimeout(fill, 1500);
    }
  } finally {
    fetching = false;
  }
}

function finished(wait) {
  if (wait !== null) {
    view.finish(...nothingFree(wait), false);
    setTimeout(fill, Math.min(5000, Math.max(500, wait * 1000)));
    return;
  }
  view.finish(...allAnswered(session, mineWhenAsked + answeredSince), true);
  document.getElementById("action-undo").disabled = !history.length;
  setTimeout(fill, 5000); // there may be new questions, or answers that were taken back
}

async function advance(pressedAt = null) {
  digits = "";
  current = queue.shift() ?? null;
  if (current) await present(current, pressedAt);
  fill();
}

// Show a question as soon as its images are loaded, unless another question is current by then.
async function present(task, pressedAt) {
  if (!isLoaded(task)) {
    let reported = false;
    const slow = setTimeout(() => {
      reported = current === task;
      if (reported) view.message(`Waiting for the ${session.item}; the connection is slow or lost.`);
    }, SLOW_MS);
    fill();
    await task.ready;
    clearTimeout(slow);
    if (current !== task) return;
    if (reported) view.message("");
  }
  display(task, pressedAt);
}

function display(task, pressedAt) {
  view.show(task, task.loaded, history.length > 0);
  onScreen = task;
  shownAt = performance.now();
  if (pressedAt !== null) {
    // After the frame that shows the next question has been handed to the screen.
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => performance.measure("key to next question", { start: pressedAt, end: performance.now() });
      channel.port2.postMessage(null);
    });
  }
}

function answer(choice, pressedAt = performance.now()) {
  if (!current || current !== onScreen) return;
  const id = Outbox.newId();
  outbox.add({ id, item: current.key, answer: choice, response_ms: Math.round(performance.now() - shownAt) });
  remember([...history, { id, task: { ...withoutImages(current), before: choice } }].slice(-MAX_UNDO));
  times.push(Date.now());
  answeredSince += 1;
  view.message("");
  showProgress();
  advance(pressedAt);
}

function withoutImages({ loaded, ready, ...task }) {
  return task;
}

function remember(entries) {
  history = entries;
  localStorage.setItem(`history ${here}`, JSON.stringify(history));
}

async function undo() {
  const last = history.at(-1);
  if (!last) return view.message("There is nothing to take back.");
  remember(history.slice(0, -1));
  outbox.add({ id: Outbox.newId(), item: last.task.key, retracts: last.id });
  if (current) queue.unshift(current);
  current = load(last.task);
  answeredSince -= 1;
  times.pop();
  showProgress();
  const taken = current;
  await present(taken, null);
  if (current === taken) view.message("Taken back; please answer again.");
}

function skip() {
  if (!current || current !== onScreen) return;
  const { key } = current;
  skipping.add(key);
  post("skip", { items: [key] }).catch(() => {}).finally(() => skipping.delete(key));
  view.message("Skipped; it is asked again later.");
  advance(performance.now());
}

function action(name, pressedAt = performance.now()) {
  if (name === "help") return view.toggleHelp();
  if (name === "undo") return undo();
  if (!current || current !== onScreen) return undefined;
  if (name === "zoom") return view.toggleZoom(current);
  if (name === "skip") return skip();
  return answer(name, pressedAt); // cant_tell, bad_image
}

// Digits type the number of a choice; if a longer number is possible, Enter ends it.
function digit(key, pressedAt) {
  digits += key;
  const all = numbered();
  const fits = all.filter(({ number }) => String(number).startsWith(digits));
  if (!fits.length) digits = "";
  else if (fits.length === 1 || all.length <= 10) return answer(fits[0].answer, pressedAt);
  if (view.search) {
    view.filter(digits);
    view.message(digits ? `Class ${digits} …: another digit, or Enter` : "There is no class with this number.");
  }
}

function enter(pressedAt) {
  const typed = numbered().find(({ number }) => String(number) === digits);
  if (typed) answer(typed.answer, pressedAt);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.repeat && !(view.layoutKey && event.key.startsWith("Arrow"))) return;
  if (view.search && document.activeElement === view.search) {
    const found = view.searchKey(event);
    if (found !== undefined) answer(found, event.timeStamp);
    return;
  }
  const name = entryOf(session.actions, event.key)?.name;
  if (view.dialogOpen) {
    if (name === "zoom" && document.getElementById("zoom").open) view.toggleZoom(current);
    if (name === "help" && document.getElementById("help").open) view.toggleHelp();
    return;
  }
  const chosen = current && entryOf(choicesOf(current), event.key);
  if (current && current === onScreen && view.layoutKey?.(event)) digits = "";
  else if (chosen) answer(chosen.answer, event.timeStamp);
  else if (event.key === "Enter" && digits) enter(event.timeStamp);
  else if (event.key === "/" && view.search && current) view.search.focus();
  else if (/^\d$/.test(event.key) && numbered().length) digit(event.key, event.timeStamp);
  else if (name) action(name, event.timeStamp);
  else return;
  event.preventDefault();
});

addEventListener("pagehide", () => {
  const waiting = new Set(outbox.items);
  const items = [...(current ? [current] : []), ...queue].map((task) => task.key).filter((key) => !waiting.has(key));
  if (items.length) navigator.sendBeacon("release", JSON.stringify({ items }));
});
addEventListener("pageshow", (event) => event.persisted && location.reload());

showProgress();
fill();
if (session.live) (await import("./live_panel.js")).start();
