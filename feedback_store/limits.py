"""Rules for stored cells, shared by every writer (`records`) and every reader (`csv_store.checks`).

Python's `re` and RE2, which pyarrow uses for columns, read these patterns alike.
"""

from __future__ import annotations

MAX_CHARACTERS = 10_000  # of a cell; Python's csv module refuses more than 131,072
MAX_DIGITS = 15  # of a whole number; JSON, spreadsheets and float64 hold these exactly
MAX_NUMBER = 10**MAX_DIGITS - 1
NUMBER = f"[0-9]{{1,{MAX_DIGITS}}}"
# Control characters, and all characters that some reader treats as a line end.
CONTROL = "[\\x00-\\x1f\\x7f-\u009f\u2028\u2029]"
SURROGATE = "[\ud800-\udfff]"  # unpaired surrogates: valid in JSON, not in UTF-8
# Years are bounded because pandas may store times in nanoseconds.
TIME = (
    r"(?:1[789]|2[01])[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|\+00:00)"
)
RATING = "[1-9][0-9]?"

WHOLE_NUMBER = f"it must be a whole number from 0 to {MAX_NUMBER}"
UTC_TIME = "it must be UTC as 2026-01-31T12:00:00.000Z, in the years 1700 to 2199"
A_RATING = "a rating is a whole number from 1 to 99"
