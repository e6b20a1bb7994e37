// Two clips side by side; space plays them from the start, - and + change the speed.

import { element } from "../dom.js";
import { entryOf, keyName } from "../key_names.js";
import { ClipPlayer } from "./clip_comparison/clip_player.js";

export const fillsStage = true; // the clips are shown here, not by the page

const SPEEDS = [0.25, 0.5, 1, 2, 4];
const SPEED_TEXT = ["¼×", "½×", "1×", "2×", "4×"];
const FASTER = ["+", "=", ">", "."], SLOWER = ["-", "_", "<", ","]; // = and . are + and > without shift

const remembered = SPEEDS.indexOf(Number(localStorage.getItem("clip speed")));
let speed = remembered < 0 ? SPEEDS.indexOf(1) : remembered; // kept for the next questions and visits
let player = null; // of the question on the screen

export function layout({ task, box, choices, images, stage, session, answer }) {
  player?.stop();
  const bars = [], canvases = [];
  const sides = task.image_choices.map((choice, place) => {
    const facts = task.details.items[place];
    const canvas = element("canvas", { width: facts.width, height: facts.height, role: "img", ariaLabel: `${choice.text} clip` });
    const bar = element("span", {});
    const shown = images[place].failed ? element("span", { className: "no-clip", textContent: "This clip could not be loaded." }) : canvas;
    const [key] = choice.keys;
    const side = element("button", { type: "button", className: "clip" }, element("span", { className: "clip-picture" }, shown), element("span", { className: "clip-bar", ariaHidden: "true" }, bar), element("span", { className: "clip-name" }, element("kbd", { textContent: keyName(key), ariaHidden: "true" }), choice.text));
    side.setAttribute("aria-keyshortcuts", key);
    side.setAttribute("aria-label", `${choice.text} clip is better`);
    side.dataset.answer = choice.answer;
    side.classList.toggle("chosen-before", task.before === choice.answer);
    side.style.setProperty("--ratio", facts.width / facts.height);
    side.addEventListener("click", () => answer(choice.answer));
    canvases.push(canvas);
    bars.push(bar);
    return side;
  });
  stage.className = "stage clips";
  stage.replaceChildren(...sides);

  const replay = button([" "], "Replay", () => player.replay());
  replay.className = "replay";
  const steps = SPEEDS.map((times, place) => {
    const step = element("button", { type: "button", textContent: SPEED_TEXT[place], ariaLabel: `${times} times the speed` });
    step.addEventListener("click", () => setSpeed(place));
    return step;
  });
  const speeds = element("div", { className: "speeds", role: "group", ariaLabel: "Speed" }, keycap("-"), ...steps, keycap("+"));
  const ties = choices.map(({ answer: value, text, keys }) => {
    const tie = button(keys, text, () => answer(value));
    tie.dataset.answer = value;
    return tie;
  });
  box.className = "choices clip-controls";
  box.replaceChildren(replay, ...ties, speeds);

  const clips = task.details.items.map((facts, place) => ({ facts, image: images[place].failed ? null : images[place].node, canvas: canvases[place], bar: bars[place] }));
  player = new ClipPlayer(clips, SPEEDS[speed]);
  showSpeed();
  player.start();

  function setSpeed(place) {
    speed = Math.min(SPEEDS.length - 1, Math.max(0, place));
    localStorage.setItem("clip speed", SPEEDS[speed]);
    player.speed = SPEEDS[speed];
    showSpeed();
  }

  function showSpeed() {
    steps.forEach((step, place) => step.setAttribute("aria-pressed", place === speed));
  }

  // Whether the key was used; keys of the configuration come first. A key that is held down answers once.
  return (event) => {
    if (event.repeat) return true;
    const { key } = event;
    if (entryOf([...session.actions, ...task.image_choices, ...choices], key)) return false;
    if (key === " " && document.activeElement?.tagName !== "BUTTON") player.replay();
    else if (FASTER.includes(key)) setSpeed(speed + 1);
    else if (SLOWER.includes(key)) setSpeed(speed - 1);
    else return false;
    return true;
  };
}

function keycap(key) {
  return element("kbd", { textContent: keyName(key), ariaHidden: "true" });
}

function button([key], text, act) {
  const made = element("button", { type: "button", className: "choice secondary" }, keycap(key), element("span", { textContent: text }));
  made.setAttribute("aria-keyshortcuts", key === " " ? "Space" : key);
  made.addEventListener("click", act);
  return made;
}
