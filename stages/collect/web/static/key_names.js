// Keys have the names of KeyboardEvent.key; letters are compared without case. The server sends what each key does.

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

// The entry whose list `keys` has the key; undefined if there is none.
export function entryOf(entries, key) {
  return entries.find((entry) => entry.keys.some((own) => sameKey(own, key)));
}
