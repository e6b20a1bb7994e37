// What is on the screen. Text from outside is set as text, never as markup.

import { element } from "./dom.js";
import { keyName, MEANING } from "./keys.js";

const $ = (id) => document.getElementById(id);
const SMALL = 64; // larger than a few times their size, such pictures are blocks that nobody recognises

function keycap(key) {
  return element("kbd", { textContent: keyName(key), ariaHidden: "true" });
}

function choice(answer, text, key, act, extra = "") {
  const button = element("button", { type: "button", className: `choice ${extra}` }, key === null ? null : keycap(key), element("span", { textContent: text }));
  button.dataset.answer = answer;
  if (key !== null) button.setAttribute("aria-keyshortcuts", key);
  button.addEventListener("click", () => act(answer));
  return button;
}

function picture(image, alt) {
  const frame = element("div", { className: "picture" });
  if (image.failed) {
    frame.append(element("div", { className: "broken", textContent: "This image could not be loaded. Press the key for “bad image”, or skip it." }));
  } else {
    image.node.alt = alt;
    image.node.classList.toggle("small", Math.max(image.node.naturalWidth, image.node.naturalHeight) <= SMALL);
    frame.append(image.node);
  }
  return frame;
}

export class View {
  // `answer` and `action` are called with what was chosen by button or touch.
  constructor(session, { answer, action }) {
    this.session = session;
    this.answer = answer;
    this.action = action;
    $("who").textContent = session.annotator;
    this.actions();
    this.help();
    $("help-close").addEventListener("click", () => $("help").close());
    $("zoom").addEventListener("click", () => $("zoom").close());
  }

  actions() {
    const names = ["skip", "cant_tell", "bad_image", "undo", "zoom", "help"];
    $("actions").replaceChildren(
      ...names.map((name) => {
        const key = this.session.keys[name][0];
        const label = MEANING[name][0].toUpperCase() + MEANING[name].slice(1);
        const button = element("button", { type: "button", id: `action-${name}` }, keycap(key), element("span", { textContent: label }));
        button.setAttribute("aria-keyshortcuts", key);
        button.addEventListener("click", () => this.action(name));
        return button;
      }),
    );
  }

  help() {
    const { keys, kind, classes, levels } = this.session;
    const rows = [];
    if (kind === "label") rows.push([["0", "…", String(classes.length - 1)], "the class of that number"]);
    if (kind === "label" && classes.length > 10) rows.push([["/"], "search a class by name; Enter picks the first, Escape leaves"]);
    if (kind === "rating") rows.push([["1", "…", String(levels)], "1 fits not at all, " + levels + " fits perfectly"]);
    const own = kind.endsWith("comparison") ? ["first", "second", "tie"] : kind === "verdict" ? ["yes", "no"] : [];
    for (const name of [...own, "skip", "cant_tell", "bad_image", "undo", "zoom", "help"]) rows.push([keys[name], MEANING[name]]);
    $("help-keys").replaceChildren(
      ...rows.flatMap(([names, meaning]) => [
        element("dt", {}, ...names.flatMap((key, n) => [n ? " " : "", key === "…" ? "…" : keycap(key)])),
        element("dd", { textContent: meaning }),
      ]),
    );
  }

  show(task, images, canUndo) {
    $("finished").hidden = true;
    $("stage").hidden = $("choices").hidden = false;
    $("question").textContent = task.text;
    $("notes").hidden = !task.notes.length;
    $("notes").textContent = task.notes.join(" · ");
    const two = task.kind === "image_comparison";
    $("stage").classList.toggle("two", two);
    $("stage").replaceChildren(...images.map((image, side) => this.frame(task, image, side, two)));
    this.choices(task);
    for (const name of ["skip", "cant_tell", "bad_image", "zoom"]) $(`action-${name}`).disabled = false;
    $("action-undo").disabled = !canUndo;
    if (document.activeElement?.tagName !== "INPUT") $("question").focus({ preventScroll: true });
  }

  frame(task, image, side, two) {
    if (!two) return element("div", { className: "frame" }, picture(image, "The image to judge"));
    const key = this.session.keys[side ? "second" : "first"][0];
    const words = side ? "Right" : "Left";
    const frame = element("button", { type: "button", className: "frame" }, picture(image, `${words} image`), element("span", {}, keycap(key), ` ${words}`));
    frame.setAttribute("aria-keyshortcuts", key);
    frame.dataset.answer = task.sides[side].answer;
    frame.addEventListener("click", () => this.answer(task.sides[side].answer));
    return frame;
  }

  choices(task) {
    const { keys, classes, levels } = this.session;
    const box = $("choices");
    const many = task.kind === "label" && classes.length > 10;
    box.className = `choices ${{ comparison: "sides", rating: "levels" }[task.kind] ?? (many ? "many" : "")}`;
    const act = (answer) => this.answer(answer);
    if (task.kind === "comparison") {
      const [left, right] = task.sides;
      box.replaceChildren(
        choice(left.answer, left.label, keys.first[0], act),
        choice("tie", "Tie", keys.tie[0], act, "secondary tie"),
        choice(right.answer, right.label, keys.second[0], act),
      );
    } else if (task.kind === "image_comparison") {
      box.replaceChildren(choice("tie", "Equally good", keys.tie[0], act, "secondary tie"));
    } else if (task.kind === "verdict") {
      box.replaceChildren(choice("yes", "Yes", keys.yes[0], act), choice("no", "No", keys.no[0], act));
    } else if (task.kind === "rating") {
      const words = { 1: "not at all", [levels]: "perfectly" };
      box.replaceChildren(...Array.from({ length: levels }, (_, n) => choice(String(n + 1), words[n + 1] ?? "", String(n + 1), act)));
    } else if (!many) {
      box.replaceChildren(...classes.map((name, n) => choice(name, name, String(n), act)));
    } else if (!this.classButtons) {
      this.classButtons = classes.map((name, n) => choice(name, name, String(n), act));
      this.search = element("input", { type: "text", placeholder: "Type a number, or / to search by name", ariaLabel: "Search a class by name", autocomplete: "off", spellcheck: false });
      this.search.addEventListener("input", () => this.filter(this.search.value));
      box.replaceChildren(element("div", { className: "search" }, this.search), ...this.classButtons);
    } else {
      this.filter("");
      box.scrollTop = 0;
    }
  }

  // Show the classes whose name contains the text, or whose number starts with the digits; returns them.
  filter(text) {
    const wanted = text.trim().toLowerCase();
    if (this.search.value !== text) this.search.value = text;
    const shown = this.session.classes.filter((name, n) => {
      const fits = !wanted || (/^\d+$/.test(wanted) ? String(n).startsWith(wanted) : name.toLowerCase().includes(wanted));
      this.classButtons[n].classList.toggle("out", !fits);
      return fits;
    });
    return shown;
  }

  finish(title, paragraphs, done) {
    $("stage").hidden = $("choices").hidden = true;
    $("notes").hidden = true;
    $("question").textContent = title;
    const tick = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    tick.setAttribute("viewBox", "0 0 32 32");
    tick.setAttribute("class", "tick");
    tick.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [name, value] of Object.entries({ d: "M6 17l7 7L27 8", fill: "none", stroke: "currentColor", "stroke-width": "3", "stroke-linecap": "round", "stroke-linejoin": "round" })) line.setAttribute(name, value);
    tick.append(line);
    $("finished").replaceChildren(...(done ? [tick] : []), ...paragraphs.map((text) => element("p", {}, ...text)));
    $("finished").hidden = false;
    for (const name of ["skip", "cant_tell", "bad_image", "zoom"]) $(`action-${name}`).disabled = true;
  }

  progress({ done, total }, mine, pace, left) {
    const share = total ? done / total : 1;
    $("bar").setAttribute("aria-valuenow", Math.round(100 * share));
    $("bar-fill").style.width = `${100 * share}%`;
    const parts = [`${mine} answered`, `${left} left for you`];
    if (pace) parts.push(`${pace} a minute`, left ? `about ${minutes(left / pace)} to go` : "");
    $("counts").textContent = parts.filter(Boolean).join(" · ");
  }

  waiting(outbox) {
    const count = outbox.entries.length;
    $("waiting").hidden = !outbox.problem || !count;
    $("waiting").textContent = `${count} ${count === 1 ? "answer waits" : "answers wait"} here to be saved: ${outbox.problem}`;
  }

  message(text, bad = false) {
    $("message").textContent = text;
    $("message").classList.toggle("bad", bad);
  }

  toggleHelp() {
    $("help").open ? $("help").close() : $("help").showModal();
  }

  toggleZoom(task) {
    if ($("zoom").open) return $("zoom").close();
    $("zoom-images").replaceChildren(
      ...task.images.map((url) => {
        const shown = element("img", { src: url, alt: "The image, large" }); // at hand already; the large one follows
        const large = element("img", { src: `${url}?zoom=true`, alt: "The image, large" });
        large.decode().then(() => shown.replaceWith(large)).catch(() => {});
        return shown;
      }),
    );
    $("zoom").showModal();
  }

  get dialogOpen() {
    return $("help").open || $("zoom").open;
  }
}

function minutes(number) {
  if (number < 1) return "a minute";
  return number < 90 ? `${Math.round(number)} min` : `${(number / 60).toFixed(1)} h`;
}
