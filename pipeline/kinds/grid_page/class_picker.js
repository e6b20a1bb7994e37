// A dialog to choose another class for the page: by number, by name, or by click.

import { element } from "../../dom.js";

let dialog = null;

export class ClassPicker {
  // `chosen` is called with the name of a class.
  constructor(classes, chosen) {
    this.classes = classes;
    this.chosen = chosen;
  }

  open(present, typed) {
    dialog?.remove();
    this.search = element("input", { type: "text", value: typed, placeholder: "Number or name of the class", ariaLabel: "Search a class", autocomplete: "off", spellcheck: false });
    this.list = element("div", { className: "class-list" });
    dialog = element("dialog", { id: "classes", ariaLabel: "Class of this page" }, element("h2", { textContent: "Class of this page" }), this.search, this.list);
    document.body.append(dialog);
    this.search.addEventListener("input", () => this.fill(present));
    dialog.addEventListener("keydown", (event) => this.key(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    this.fill(present);
    dialog.showModal();
    this.search.focus();
  }

  fill(present) {
    const wanted = this.search.value.trim().toLowerCase();
    this.found = this.classes.filter((name, number) => !wanted || (/^\d+$/.test(wanted) ? String(number).startsWith(wanted) : name.toLowerCase().includes(wanted)));
    const exact = /^\d+$/.test(wanted) ? this.classes[Number(wanted)] : undefined;
    if (exact !== undefined) this.found = [exact, ...this.found.filter((name) => name !== exact)];
    this.list.replaceChildren(
      ...this.found.map((name) => {
        const button = element("button", { type: "button", className: "choice" }, element("kbd", { textContent: this.classes.indexOf(name), ariaHidden: "true" }), element("span", { textContent: name }));
        button.setAttribute("aria-pressed", name === present);
        button.addEventListener("click", () => this.choose(name));
        return button;
      }),
    );
  }

  key(event) {
    event.stopPropagation(); // the page's keys rest meanwhile
    if (event.key === "Enter" && document.activeElement === this.search) {
      event.preventDefault();
      if (this.search.value.trim() && this.found.length) this.choose(this.found[0]);
    }
  }

  choose(name) {
    dialog.close();
    this.chosen(name);
  }
}
