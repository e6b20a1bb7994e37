"""The one exception a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: one clear sentence that names the file, line or key and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
