"""What every command shares: its configuration, and errors that a user can read."""

from __future__ import annotations

import errno
import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from feedback_store.errors import FeedbackError, FeedbackWarning
from pipeline import hints
from pipeline.config import load_config
from pipeline.errors import Stopped, UserError

# What the system may refuse at any moment, whatever was checked before; every other OSError is a bug.
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO, errno.EFBIG,
}  # fmt: skip


class UserErrors(click.Group):
    """Prints a UserError, and what the system refuses, as one clear message and exits with code 2.

    Anything else is a bug and keeps its traceback.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", FeedbackWarning)
                warnings.showwarning = _show_warning(warnings.showwarning)
                return super().invoke(ctx)
        except (UserError, FeedbackError) as error:
            _say(str(error))
            ctx.exit(2)
        except OSError as error:
            if error.errno not in FULL | REFUSED:
                raise
            _say(_refusal(error))
            ctx.exit(2)
        except Stopped as stopped:
            click.echo(str(stopped), err=True)
            ctx.exit(stopped.code)


def _say(message: str) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True)


def _refusal(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return f"{where}{error.strerror}; make room and run the same command again, it goes on from what is saved"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}a file stands where a folder is needed; move it away, or name another place"
    return f"{where}{error.strerror}; put that right, or name another place"


def _show_warning(otherwise: Callable[..., None]) -> Callable[..., None]:
    """Warnings about judgments are for the user; all others are for developers and shown as ever."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, FeedbackWarning):
            click.echo(click.style("warning: ", fg="yellow", bold=True) + str(message), err=True)
        else:
            otherwise(message, category, *where, **more)

    return show


def configured(command: Callable[..., None]) -> Callable[..., None]:
    """The options every stage takes, turned into its first argument, a Config."""

    @click.option(
        "--config", "path", type=click.Path(path_type=Path), default=hints.DEFAULT, show_default=True,
        help="YAML file with the run's settings.",
    )  # fmt: skip
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE",
        help='Override settings, several in one string or option: --set "ppo.lr=1e-5 seed=3".',
    )  # fmt: skip
    @functools.wraps(command)
    def wrapped(path: Path, overrides: tuple[str, ...], **options: Any) -> None:
        hints.started_with(path)
        command(load_config(path, [item for text in overrides for item in text.split()]), **options)

    return wrapped


force_option = click.option("--force", is_flag=True, help="Do it again although it is up to date.")
