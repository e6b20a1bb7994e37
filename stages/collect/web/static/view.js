// The view of the judging page. Names and messages are set as text, never as markup.

import { element } from "./dom.js";
import { keyName } from "./key_names.js";

const $ = (id) => document.getElementById(id);
const SMALL_PIXELS = 64; // images up to this size are enlarged only a few times, to stay recognisable

function keycap(key) {
  return element("kbd", { textContent: keyName(key), ariaHidden: "true" });
}

// A button for one choice, with the first key that gives it.
function button({ answer, text, keys, number, secondary }, act) {
  const key = number === null ? (keys[0] ?? null) : String(number);
  const button = element("button", { type: "button", className: `choice ${secondary ? "secondary" : ""}` }, key === null ? null : keycap(key), element("span", { textContent: text }));
  button.dataset.answer = answer;
  if (key !== null) button.setAttribute("aria-keyshortcuts", key);
  button.addEventListener("click", () => act(answer));
  return button;
}

function picture(image, alt) {
  const frame = element("div", { className: "picture" });
  if (image.failed) {
    frame.append(element("div", { className: "broken", textContent: "This image could not be loaded. Press the key for \"bad image\", or skip it." }));
  } else {
    image.node.alt = alt;
    image.node.classList.toggle("small", Math.max(image.node.naturalWidth, image.node.naturalHeight) <= SMALL_PIXELS);
    frame.append(image.node);
  }
  return frame;
}

export class View {
  // `answer` and `action` are called with the name of the button; `kind` is the module of a kind's own layout (docs/architecture.md).
  constructor(session, { answer, action, kind }) {
    this.session = session;
    this.answer = answer;
    this.action = action;
    this.kind = kind;
    $("who").textContent = session.annotator;
    this.actions();
    this.help();
    $("help-close").addEventListener("click", () => $("help").close());
    $("zoom").addEventListener("click", () => $("zoom").close());
  }

  actions() {
    $("actions").replaceChildren(
      ...this.session.actions.map(({ name, text, keys: [key] }) => {
        const label = text[0].toUpperCase() + text.slice(1);
        const button = element("button", { type: "button", id: `action-${name}` }, keycap(key), element("span", { textContent: label }));
        button.setAttribute("aria-keyshortcuts", key);
        button.addEventListener("click", () => this.action(name));
        return button;
      }),
    );
  }

  help() {
    $("help-keys").replaceChildren(
      ...this.session.help.flatMap(({ keys, meaning }) => [
        element("dt", {}, ...keys.flatMap((key, n) => [n ? " " : "", key === "…" ? "…" : keycap(key)])),
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
    $("stage").className = images.length > 1 && !this.kind?.fillsStage ? "stage two" : "stage";
    if (!this.kind?.fillsStage) $("stage").replaceChildren(...images.map((image, place) => this.frame(task, image, place)));
    this.choices(task, images);
    this.disableActions(false);
    $("action-undo").disabled = !canUndo;
    if (document.activeElement?.tagName !== "INPUT") $("question").focus({ preventScroll: true });
  }

  frame(task, image, place) {
    const choice = task.image_choices[place];
    if (!choice) return element("div", { className: "frame" }, picture(image, "The image to judge"));
    const [key] = choice.keys;
    const frame = element("button", { type: "button", className: "frame" }, picture(image, `${choice.text} image`), element("span", {}, keycap(key), ` ${choice.text}`));
    frame.setAttribute("aria-keyshortcuts", key);
    frame.dataset.answer = choice.answer;
    frame.addEventListener("click", () => this.answer(choice.answer));
    return frame;
  }

  choices(task, images) {
    const box = $("choices");
    const act = (answer) => this.answer(answer);
    const other = typeof task.style === "string"; // an audit question among questions of another kind
    const fixed = !task.choices || other; // every class is a choice
    const choices = task.choices ?? this.session.choices;
    const many = fixed && choices.length > 10;
    box.className = `choices ${(other ? task.style : this.session.style) || (many ? "many" : "")}`;
    this.layoutKey = null;
    if (this.kind && !other) {
      this.layoutKey = this.kind.layout({ task, box, choices, answer: act, images, stage: $("stage"), session: this.session });
    } else if (!many) {
      box.replaceChildren(...choices.map((choice) => button(choice, act)));
    } else if (!this.classButtons || this.search.closest("#choices") === null) {
      this.listed = choices;
      this.classButtons = choices.map((choice) => button(choice, act));
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
    const shown = this.listed.filter(({ text: name, number }, n) => {
      const fits = !wanted || (/^\d+$/.test(wanted) ? String(number).startsWith(wanted) : name.toLowerCase().includes(wanted));
      this.classButtons[n].classList.toggle("out", !fits);
      return fits;
    });
    return shown.map(({ answer }) => answer);
  }

  // A key in the search field: Enter gives the first choice found, Escape leaves; the answer, or undefined.
  searchKey(event) {
    let answer;
    if (event.key === "Escape") {
      this.filter("");
      this.search.blur();
    } else if (event.key === "Enter") {
      [answer] = this.search.value.trim() ? this.filter(this.search.value) : [];
      if (answer !== undefined) this.search.blur();
    } else return undefined;
    event.preventDefault();
    return answer;
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
    this.disableActions(true);
  }

  // Those that need a question on the screen.
  disableActions(disabled) {
    for (const { name } of this.session.actions) if (!["undo", "help"].includes(name)) $(`action-${name}`).disabled = disabled;
  }

  progress({ done, total }, mine, pace, left) {
    const share = total ? done / total : 1;
    $("bar").setAttribute("aria-valuenow", Math.round(100 * share));
    $("bar-fill").style.width = `${100 * share}%`;
    const parts = [`${mine} answered`, `${left} left for you`];
    if (pace) parts.push(`${pace} per minute`, left ? `about ${minutes(left / pace)} left` : "");
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
      ...(this.layoutKey?.enlarged?.() ?? task.images).map((url) => {
        const shown = element("img", { src: url, alt: "Enlarged image" }); // loaded already; the large one follows
        const large = element("img", { src: `${url}?zoom=true`, alt: "Enlarged image" });
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
