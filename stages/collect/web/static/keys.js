// Names of keys are those of KeyboardEvent.key; letters count in either case. What keys do comes from the server.

const SYMBOLS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Backspace: "⌫", Enter: "⏎", " ": "space" };

export function keyName(key) {
  return SYMBOLS[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

export function sameKey(one, other) {
  return normal(one) === normal(other);
}

function normal(key) {
  return key.length === 1 ? key.toLowerCase() : key;
}

// The entry, with a list of `keys`, that a key belongs to; undefined if none.
export function entryOf(entries, key) {
  return entries.find((entry) => entry.keys.some((own) => sameKey(own, key)));
}
