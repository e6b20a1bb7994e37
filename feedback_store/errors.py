"""What can be wrong with stored judgments."""


class FeedbackError(Exception):
    """A file, line or answer that cannot be accepted, with the reason and what to do; nothing stored was changed."""


class FeedbackWarning(UserWarning):
    """Something was set aside, or is gone; everything else is there and can be used."""
