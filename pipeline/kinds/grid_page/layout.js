// A page of tiles: the exceptions are marked by click, drag, touch or key, and Enter confirms.

import { element } from "../dom.js";
import { sameKey } from "../key_names.js";
import { ClassPicker } from "./grid/class_picker.js";
import { Preview } from "./grid/preview.js";
import { fit } from "./grid/tile_size.js";
import { Pointer } from "./grid/pointer.js";

export const fillsStage = true; // the images are shown here, not by the page

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
let board = null; // of the page on the screen
let byKeyboard = false; // whether the last tile was marked by key: then the next page starts with a cursor
const preview = new Preview();
addEventListener("resize", () => board?.resize());

export function layout({ task, box, stage, images, session, answer }) {
  preview.hide();
  board = new Board({ task, box, stage, images, session, answer });
  const current = board;
  const onKey = (event) => current.key(event);
  onKey.enlarged = () => [current.large(current.place ?? 0)];
  return onKey;
}

class Board {
  constructor({ task, box, stage, images, session, answer }) {
    Object.assign(this, { task, stage, answer, classes: session.details.classes });
    const [, marks, label] = /^([\d,]*):(.*)$/s.exec(task.before ?? "") ?? [null, "", task.details.label];
    this.label = label;
    this.marked = new Set(marks.split(",").filter(Boolean).map(Number));
    this.letters = freeLetters(session.actions);
    this.place = null; // of the cursor
    this.tiles = images.map((image, place) => this.tile(image, place));
    this.tilesBox = element("div", { className: "tiles", role: "group", ariaLabel: "Mark the exceptions" }, ...this.tiles);
    this.stage.replaceChildren(this.tilesBox);
    new Pointer(this.tilesBox, { marked: (place) => this.marked.has(place), set: (place, on) => this.set(place, on), hover: (place) => this.hover(place) });
    this.confirm = element("button", { type: "button", className: "choice confirm" });
    this.confirm.addEventListener("click", () => this.send());
    this.change = element("button", { type: "button", className: "choice secondary" });
    this.change.addEventListener("click", () => this.pick());
    box.className = "choices tile-answers";
    box.replaceChildren(this.change, this.confirm);
    this.picker = new ClassPicker(this.classes, (name) => this.setLabel(name));
    this.show();
    this.resize();
    if (byKeyboard) queueMicrotask(() => this.go(0));
  }

  tile(image, place) {
    const letter = this.letterOf(place);
    const key = letter && element("kbd", { textContent: letter, ariaHidden: "true" });
    const cross = element("span", { className: "cross", ariaHidden: "true", textContent: "✕" });
    const shown = image.failed ? element("span", { className: "unreadable", textContent: "unreadable" }) : image.node;
    if (!image.failed) Object.assign(image.node, { alt: "", className: Math.max(image.node.naturalWidth, image.node.naturalHeight) <= 64 ? "coarse" : "", draggable: false });
    const tile = element("div", { className: "tile", role: "checkbox", tabIndex: place ? -1 : 0, ariaLabel: `Image ${place + 1}` }, shown, key, cross);
    tile.dataset.place = place;
    tile.addEventListener("focus", () => this.go(place, false));
    return tile;
  }

  letterOf(place) {
    const { letters } = this;
    if (place < letters.length) return letters[place].toUpperCase();
    return place < 2 * letters.length ? `⇧${letters[place - letters.length].toUpperCase()}` : null;
  }

  show() {
    document.getElementById("question").textContent = `Which of these are not "${this.label}"?`;
    this.tiles.forEach((tile, place) => {
      tile.setAttribute("aria-checked", this.marked.has(place));
      tile.classList.toggle("cursor", place === this.place);
    });
    const count = this.marked.size;
    const text = count ? `Confirm ${count} ${count === 1 ? "exception" : "exceptions"}` : `All are "${this.label}"`;
    this.confirm.replaceChildren(element("kbd", { textContent: "⏎", ariaHidden: "true" }), element("span", { textContent: text }));
    this.change.replaceChildren(element("kbd", { textContent: "/", ariaHidden: "true" }), element("span", { textContent: "Another class" }));
  }

  set(place, on) {
    if (!this.tiles[place] || this.marked.has(place) === on) return;
    on ? this.marked.add(place) : this.marked.delete(place);
    preview.hide();
    byKeyboard = false;
    this.show();
  }

  toggle(place) {
    this.set(place, !this.marked.has(place));
    byKeyboard = true;
  }

  setLabel(name) {
    this.label = name;
    this.show();
    this.tiles[this.place ?? 0].focus({ preventScroll: true });
  }

  hover(place) {
    place === null ? preview.hide() : preview.show(this.tiles[place], this.large(place));
  }

  large(place) {
    return this.task.images[place].split("?")[0];
  }

  go(place, focus = true) {
    this.tiles.forEach((tile, other) => (tile.tabIndex = other === place ? 0 : -1));
    this.place = place;
    if (focus) this.tiles[place].focus();
    this.show();
  }

  send() {
    preview.hide();
    this.answer(`${[...this.marked].sort((a, b) => a - b).join(",")}:${this.label}`);
  }

  pick(typed = "") {
    preview.hide();
    this.picker.open(this.label, typed);
  }

  resize() {
    this.columns = fit(this.tilesBox, this.stage, this.tiles.length);
  }

  // Whether the key was used. A focused button keeps Enter and space.
  key(event) {
    const { key } = event;
    const onButton = document.activeElement?.tagName === "BUTTON";
    if ((key === "Enter" || key === " ") && onButton) return false;
    if (key in STEPS || key === "ArrowUp" || key === "ArrowDown") this.step(STEPS[key] ?? (key === "ArrowUp" ? -this.columns : this.columns));
    else if (event.repeat) return false;
    else if (key === " ") this.toggle(this.place ?? 0);
    else if (key === "Enter") this.send();
    else if (key === "/") this.pick();
    else if (/^\d$/.test(key)) this.digit(key);
    else return this.letter(event);
    return true;
  }

  step(by) {
    byKeyboard = true;
    if (this.place === null) return this.go(0);
    const next = this.place + by;
    if (next >= 0 && next < this.tiles.length) this.go(next);
  }

  digit(key) {
    if (this.classes.length > 10) this.pick(key);
    else if (this.classes[Number(key)] !== undefined) this.setLabel(this.classes[Number(key)]);
  }

  letter(event) {
    const at = this.letters.findIndex((letter) => sameKey(letter, event.key));
    const place = at + (event.shiftKey ? this.letters.length : 0);
    if (at < 0 || place >= this.tiles.length) return false;
    this.go(place);
    this.toggle(place);
    return true;
  }
}

// The letters that are keys of no action.
function freeLetters(actions) {
  const taken = actions.flatMap(({ keys }) => keys);
  return [..."abcdefghijklmnopqrstuvwxyz"].filter((letter) => !taken.some((key) => sameKey(key, letter)));
}
