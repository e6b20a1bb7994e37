// Mouse and touch. A click or tap marks a tile or takes the mark back; a drag does to every tile what it did to its
// first one. On touch screens a drag starts sideways, since up and down scroll, and a long press enlarges.

const HOVER_MS = 600, LONG_PRESS_MS = 400, SIDEWAYS = 12; // milliseconds, pixels

export class Pointer {
  // `marked` says whether a tile is, `set` marks it or not, `hover` is called with a tile to enlarge, or null.
  constructor(box, { marked, set, hover }) {
    Object.assign(this, { marked, set, hover });
    this.press = null;
    box.addEventListener("pointerdown", (event) => this.down(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    box.addEventListener("pointerup", (event) => this.up(event));
    box.addEventListener("pointercancel", () => this.end());
    box.addEventListener("pointerleave", () => this.look(null));
    box.addEventListener("contextmenu", (event) => this.press && event.preventDefault()); // of a long press
    // Screen readers click without a pointer.
    box.addEventListener("click", (event) => event.detail === 0 && this.flip(placeOf(event.target)));
  }

  flip(place) {
    if (place !== null) this.set(place, !this.marked(place));
  }

  down(event) {
    const place = placeOf(event.target);
    if (place === null || event.button !== 0 || !event.isPrimary) return;
    this.look(null);
    this.press = { place, on: !this.marked(place), x: event.clientX, y: event.clientY, dragging: false, long: false };
    if (event.pointerType === "mouse") {
      event.preventDefault(); // no selection of text, no dragging of images
      this.drag();
    } else this.timer = setTimeout(() => this.longPress(), LONG_PRESS_MS);
  }

  longPress() {
    this.press.long = true;
    this.hover(this.press.place);
  }

  drag() {
    this.press.dragging = true;
    this.set(this.press.place, this.press.on);
  }

  move(event) {
    const { press } = this;
    if (!press) {
      if (event.pointerType === "mouse" && event.buttons === 0) this.look(placeOf(event.target));
      return;
    }
    if (event.pointerType === "mouse" && event.buttons === 0) return this.end(); // released outside
    if (press.long) return;
    if (!press.dragging) {
      if (Math.abs(event.clientX - press.x) < SIDEWAYS) return;
      clearTimeout(this.timer);
      this.drag();
    }
    for (const { clientX, clientY } of [...(event.getCoalescedEvents?.() ?? []), event]) {
      const place = placeOf(document.elementFromPoint(clientX, clientY));
      if (place !== null) this.set(place, press.on);
    }
  }

  up() {
    const { press } = this;
    if (press && !press.dragging && !press.long) this.flip(press.place);
    this.end();
  }

  end() {
    clearTimeout(this.timer);
    if (this.press?.long) this.hover(null);
    this.press = null;
  }

  // Enlarge a tile that the mouse stays on.
  look(place) {
    if (place === this.looked) return;
    this.looked = place;
    clearTimeout(this.hovering);
    this.hover(null);
    if (place !== null) this.hovering = setTimeout(() => this.hover(place), HOVER_MS);
  }
}

function placeOf(node) {
  const tile = node?.closest?.(".tile");
  return tile ? Number(tile.dataset.place) : null;
}
