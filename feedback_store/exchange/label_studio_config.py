"""Read Label Studio's labelling configurations: which objects a control tag refers to."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from feedback_store.errors import FeedbackError


@dataclass(frozen=True)
class Objects:
    """The object tags of a labelling configuration.

    Attributes:
        key: for each tag's name, the key of the task's data that it shows.
        is_image: for each tag's name, whether it is an Image.
        to_name: for each control tag's name, the names of its objects, in order.
    """

    key: dict[str, str]
    is_image: dict[str, bool]
    to_name: dict[str, list[str]]

    @classmethod
    def of(cls, xml: str) -> Objects:
        """Read a labelling configuration.

        Raises:
            FeedbackError: not XML, or it declares entities.
        """
        if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
            raise FeedbackError("the labelling configuration must not declare entities")
        try:
            tags = [tag for tag in ElementTree.fromstring(xml).iter() if tag.get("name")]
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # the others: unknown encodings
            raise FeedbackError(f"the labelling configuration is not XML: {error}") from error
        shown = {tag.get("name", ""): tag.get("value", "")[1:] for tag in tags if tag.get("value", "").startswith("$")}
        images = {tag.get("name", ""): tag.tag == "Image" for tag in tags}
        to_name = {tag.get("name", ""): tag.get("toName", "").split(",") for tag in tags if tag.get("toName")}
        return cls(shown, images, to_name)
