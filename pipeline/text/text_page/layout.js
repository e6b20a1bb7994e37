// Two texts side by side, as they are: never as markup. The arrows up and down scroll long ones.

import { element } from "../dom.js";
import { entryOf, keyName } from "../key_names.js";

export const fillsStage = true; // the texts are shown here, not by the page

const SHORT = 200; // characters; two texts up to this length are shown larger
const SCROLL = { ArrowDown: 80, ArrowUp: -80, PageDown: 400, PageUp: -400 }; // pixels

export function layout({ task, box, choices, stage, session, answer }) {
  const texts = [];
  const sides = task.image_choices.map((choice, place) => {
    const { text } = task.details.items[place];
    const shown = element("div", { className: "text", textContent: text, dir: "auto" });
    const button = keyButton(choice, "choice", answer);
    button.setAttribute("aria-label", `${choice.text} text is better`);
    button.classList.toggle("chosen-before", task.before === choice.answer);
    texts.push(shown);
    return element("section", { className: "text-side", ariaLabel: `${choice.text} text` }, shown, button);
  });
  const short = texts.every(({ textContent }) => textContent.length <= SHORT);
  stage.className = short ? "stage texts" : "stage texts long";
  stage.replaceChildren(...sides);
  box.className = "choices";
  box.replaceChildren(...choices.map((choice) => keyButton(choice, "choice secondary", answer)));
  for (const text of texts) {
    text.classList.toggle("short", short);
    if (text.scrollHeight > text.clientHeight) text.tabIndex = 0; // so that it can be scrolled by keyboard
    const fade = () => text.classList.toggle("more", text.scrollTop + text.clientHeight < text.scrollHeight - 2);
    text.addEventListener("scroll", fade);
    fade();
  }

  // Whether the key was used; keys of the configuration come first.
  return ({ key }) => {
    if (entryOf([...session.actions, ...task.image_choices, ...choices], key) || !(key in SCROLL)) return false;
    for (const text of texts) text.scrollBy({ top: SCROLL[key] });
    return true;
  };
}

function keyButton({ answer, text, keys: [key] }, className, act) {
  const button = element("button", { type: "button", className }, element("kbd", { textContent: keyName(key), ariaHidden: "true" }), element("span", { textContent: text }));
  button.setAttribute("aria-keyshortcuts", key);
  button.dataset.answer = answer;
  button.addEventListener("click", () => act(answer));
  return button;
}
