"""Label Studio's labelling configurations: which object a control tag speaks of, and the ones our exports go with."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

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
            FeedbackError: not XML, or with entities of its own.
        """
        if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
            raise FeedbackError("the labelling configuration must not declare entities")
        try:
            tags = [tag for tag in ElementTree.fromstring(xml).iter() if tag.get("name")]
        except (ElementTree.ParseError, ValueError, LookupError) as error:  # the others: encodings nobody has
            raise FeedbackError(f"the labelling configuration is not XML: {error}") from error
        shown = {tag.get("name", ""): tag.get("value", "")[1:] for tag in tags if tag.get("value", "").startswith("$")}
        images = {tag.get("name", ""): tag.tag == "Image" for tag in tags}
        to_name = {tag.get("name", ""): tag.get("toName", "").split(",") for tag in tags if tag.get("toName")}
        return cls(shown, images, to_name)


LABELS_CONFIG = """<View>
  <Header value="Which label fits this image?"/>
  <Image name="image" value="$image"/>
  <Text name="label_a" value="$label_a"/>
  <Text name="label_b" value="$label_b"/>
  <Pairwise name="better" toName="label_a,label_b"/>
  <Choices name="otherwise" toName="image" choice="single">
    <Choice value="tie"/><Choice value="cant_tell"/><Choice value="bad_image"/>
  </Choices>
</View>
"""
IMAGES_CONFIG = """<View>
  <Header value="Which image is the better example of the label?"/>
  <Text name="label" value="$label"/>
  <Image name="image_a" value="$image_a"/>
  <Image name="image_b" value="$image_b"/>
  <Pairwise name="better" toName="image_a,image_b"/>
  <Choices name="otherwise" toName="label" choice="single">
    <Choice value="tie"/><Choice value="cant_tell"/><Choice value="bad_image"/>
  </Choices>
</View>
"""


def per_image_config(question: str, answers: list[str]) -> str:
    """The labelling configuration of our label choices, verdicts and ratings."""
    about = "" if question == "label" else '  <Text name="about" value="$label"/>\n'
    choices = "".join(f"<Choice value={quoteattr(answer)}/>" for answer in answers)
    rating = '  <Rating name="rating" toName="image" maxRating="99"/>\n' if question == "rating" else ""
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n{about}{rating}'
        f'  <Choices name="{question}_choice" toName="image" choice="single">{choices}</Choices>\n</View>\n'
    )
