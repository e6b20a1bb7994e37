// An enlarged tile beside the tile, over the others; it takes no clicks.

import { element } from "../../dom.js";

const MARGIN = 12, LEAST = 260, MOST = 420; // pixels
const TIMES = 2.2; // as large as the tile

export class Preview {
  constructor() {
    this.box = element("div", { className: "tile-preview", ariaHidden: "true", hidden: true });
    document.body.append(this.box);
  }

  show(tile, url) {
    const small = tile.querySelector("img");
    if (!small) return;
    const large = element("img", { src: url, alt: "" });
    this.box.replaceChildren(element("img", { src: small.src, alt: "" }));
    large.decode().then(() => this.box.replaceChildren(large)).catch(() => {}); // the small one stays
    this.box.hidden = false;
    const at = tile.getBoundingClientRect();
    const side = Math.min(Math.max(LEAST, TIMES * at.width), MOST, innerWidth - 2 * MARGIN, innerHeight - 2 * MARGIN);
    const right = at.right + MARGIN + side <= innerWidth;
    const left = right ? at.right + MARGIN : at.left - MARGIN - side;
    const place = (value, most) => `${Math.max(MARGIN, Math.min(value, most - side - MARGIN))}px`;
    this.box.style.setProperty("--side", `${side}px`);
    this.box.style.setProperty("--left", place(left, innerWidth));
    this.box.style.setProperty("--top", place(at.top + at.height / 2 - side / 2, innerHeight));
  }

  hide() {
    this.box.hidden = true;
  }
}
