"""Which key does what in the window. The configuration names keys as browsers do; Tk has names of its own."""

from __future__ import annotations

from pipeline.config.collect import CollectConfig
from stages.collect.question_text import MEANING
from stages.collect.tasks import Task

_KEYSYMS = {
    "ArrowLeft": "Left",
    "ArrowRight": "Right",
    "ArrowUp": "Up",
    "ArrowDown": "Down",
    "Backspace": "BackSpace",
    "Enter": "Return",
    " ": "space",
}
_SHOWN = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓", " ": "space"}
_OWN = {
    "comparison": ("first", "second", "tie"),
    "image_comparison": ("first", "second", "tie"),
    "verdict": ("yes", "no"),
}
_ALWAYS = ("skip", "cant_tell", "bad_image", "undo", "zoom", "help")


def shown_key(key: str) -> str:
    """A key's name on a button."""
    return _SHOWN.get(key, key.upper() if len(key) == 1 else key)


class Keyboard:
    """Turns key presses into actions and answers; holds the digits of a class number that is not complete yet."""

    def __init__(self, settings: CollectConfig, classes: tuple[str, ...]) -> None:
        self._kind, self._levels, self._classes = settings.question, settings.rating_levels, classes
        self._actions = (*_OWN.get(settings.question, ()), *_ALWAYS)
        self._keys: dict[str, list[str]] = {action: getattr(settings.keys, action) for action in self._actions}
        self._action = {
            self._normal(_KEYSYMS.get(key, key)): action for action, keys in self._keys.items() for key in keys
        }
        self.digits = ""

    @staticmethod
    def _normal(key: str) -> str:
        return key.lower() if len(key) == 1 else key

    def read(self, keysym: str, char: str, task: Task | None) -> tuple[str | None, str | None]:
        """The action, or the answer, that a key press stands for; both None for any other key."""
        if task is not None and self._kind in ("label", "rating"):
            if char and char in "0123456789":
                return None, self._digit(char)
            if keysym in ("Return", "KP_Enter") and self.digits:
                answer, self.digits = self._classes[int(self.digits)], ""
                return None, answer
        self.digits = ""
        return self._action.get(self._normal(keysym)) or self._action.get(self._normal(char or " ")), None

    def _digit(self, char: str) -> str | None:
        if self._kind == "rating":
            return char if 1 <= int(char) <= self._levels else None
        self.digits += char
        fits = [name for number, name in enumerate(self._classes) if str(number).startswith(self.digits)]
        if len(fits) == 1 or (fits and len(self._classes) <= 10):
            answer, self.digits = self._classes[int(self.digits)], ""
            return answer
        if not fits:
            self.digits = ""
        return None

    def explained(self) -> list[tuple[str, str]]:
        """Keys and what they mean, for the help window."""
        own = []
        if self._kind == "label":
            own.append((f"0 … {len(self._classes) - 1}", "the class of that number"))
        if self._kind == "rating":
            own.append((f"1 … {self._levels}", f"1 fits not at all, {self._levels} fits perfectly"))
        return own + [("  ".join(map(shown_key, self._keys[action])), MEANING[action]) for action in self._actions]
