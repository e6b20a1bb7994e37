"""The questions in words, the same on the page and in the window."""

from __future__ import annotations

from stages.collect.items import Item


def question_text(item: Item) -> str:
    """What is asked about the image or images on the screen."""
    if item.kind == "comparison":
        return "Which label fits this image better?"
    if item.kind == "image_comparison":
        return f"Which image is the better example of “{item.label_a}”?"
    if item.kind == "verdict":
        return f"Is “{item.label_a}” right for this image?"
    if item.kind == "rating":
        return f"How well does “{item.label_a}” fit this image?"
    return "Which class is this image?"


MEANING = {
    "first": "left is better",
    "second": "right is better",
    "tie": "equally good",
    "yes": "yes",
    "no": "no",
    "skip": "skip for now",
    "cant_tell": "can't tell",
    "bad_image": "bad image",
    "undo": "undo",
    "zoom": "zoom",
    "help": "help",
}
