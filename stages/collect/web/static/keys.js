// Which key does what. Names of keys are those of KeyboardEvent.key; letters count in either case.

const WORDS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Backspace: "⌫", Enter: "⏎", " ": "space" };

export const MEANING = {
  first: "left is better", second: "right is better", tie: "equally good", yes: "yes", no: "no", skip: "skip for now",
  cant_tell: "can’t tell", bad_image: "bad image", undo: "undo", zoom: "zoom", help: "help",
};

export function keyName(key) {
  return WORDS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

function normal(key) {
  return key.length === 1 ? key.toLowerCase() : key;
}

// The actions that make sense for a kind of question, besides those of its own choices.
export function actionsFor(kind) {
  const own = { comparison: ["first", "second", "tie"], image_comparison: ["first", "second", "tie"], verdict: ["yes", "no"] };
  return [...(own[kind] ?? []), "skip", "cant_tell", "bad_image", "undo", "zoom", "help"];
}

// A function from a key to an action of this kind of question, or undefined.
export function actionOf(keys, kind) {
  const found = new Map();
  for (const action of actionsFor(kind)) for (const key of keys[action]) found.set(normal(key), action);
  return (key) => found.get(normal(key));
}
