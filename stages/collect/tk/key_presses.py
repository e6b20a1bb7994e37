"""Key bindings of the window. The configuration has the key names of browsers; Tk has different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import Choice
from stages.collect.actions import COMMON_ACTIONS

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


def shown_key(key: str) -> str:
    """A key's name on a button."""
    return _SHOWN.get(key, key.upper() if len(key) == 1 else key)


class Keyboard:
    """Turns key presses into actions and answers; `digits` are those of an incomplete class number."""

    def __init__(self, keys: KeysConfig) -> None:
        self._keys = keys
        self._actions = {
            self._normal(_KEYSYMS.get(key, key)): name for name in COMMON_ACTIONS for key in getattr(keys, name)
        }
        self.digits = ""

    @staticmethod
    def _normal(key: str) -> str:
        return key.lower() if len(key) == 1 else key

    def read(self, keysym: str, char: str, choices: Sequence[Choice]) -> tuple[str | None, str | None]:
        """The action and the answer of a key press: one of them, or None and None for other keys.

        Args:
            choices: of the question on the screen.
        """
        pressed = {self._normal(keysym), self._normal(char or " ")}
        for choice in choices:
            own = getattr(self._keys, choice.action) if choice.action else ()
            if pressed & {self._normal(_KEYSYMS.get(key, key)) for key in own}:
                self.digits = ""
                return None, choice.answer
        numbered = {str(choice.number): choice.answer for choice in choices if choice.number is not None}
        if numbered and char and char in "0123456789":
            return None, self._digit(char, numbered)
        if keysym in ("Return", "KP_Enter") and self.digits:
            typed, self.digits = self.digits, ""
            return None, numbered.get(typed)
        self.digits = ""
        return self._actions.get(self._normal(keysym)) or self._actions.get(self._normal(char or " ")), None

    def _digit(self, char: str, numbered: Mapping[str, str]) -> str | None:
        """The answer if its number is complete; if a longer number is possible, Enter ends it."""
        self.digits += char
        fits = [number for number in numbered if number.startswith(self.digits)]
        if fits and (len(fits) == 1 or len(numbered) <= 10):
            self.digits = ""
            return numbered[fits[0]]
        if not fits:
            self.digits = ""
        return None
