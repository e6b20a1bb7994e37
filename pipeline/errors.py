"""What a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: one clear sentence that names the file, line or key and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class Stopped(Exception):
    """The user, or the system, ended a stage in the middle; what was done is saved. `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
