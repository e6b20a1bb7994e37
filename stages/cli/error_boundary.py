"""The one place where errors end a command: every one becomes a sentence and an exit code.

Exit codes: 2 for what the user can put right, 70 for an error of the program itself, whose details go to a log file,
130 and 143 for Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import errno
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import click

from feedback_store.errors import FeedbackError, FeedbackWarning
from pipeline.errors import Stopped, UserError
from pipeline.run.signals import exit_code, ignore_further_signals, stoppable
from stages.cli.error_log import write_log
from stages.cli.terminal_log import logged_to_terminal

USAGE, SOFTWARE = 2, 70  # as sysexits.h has the second
# What the system may refuse at any moment, whatever was checked before; every other OSError is a bug.
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.EFBIG,
    errno.ELOOP,
    errno.EBUSY,
    errno.ETXTBSY,
}
# How torch says that memory is short: errors of several types that share only their text.
NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
# The settings that make each command need less memory.
SMALLER = {
    "reference": "reference.batch_size or images.size",
    "collect": "images.size or images.max_pixels",
    "train-reward": "reward.batch_size, reward.members or images.size",
    "ppo": "ppo.minibatch_size, ppo.batch_size or images.size",
    "run": "reference.batch_size, reward.batch_size, ppo.minibatch_size or images.size",
    "infer": "infer.batch_size, infer.workers or images.max_pixels",
    "serve": "serve.batch_size, serve.workers or serve.max_pixels",
}


class UserErrors(click.Group):
    """A group whose commands end with a sentence, never with a traceback, unless `--debug` asks for it."""

    own_process = False

    def main(self, args: Any = None, *more: Any, **named: Any) -> Any:
        self.own_process = args is None  # no arguments are handed over: they are those the process was started with
        return super().main(args, *more, **named)

    def invoke(self, ctx: click.Context) -> Any:
        with stoppable():
            try:
                with logged_to_terminal(), warnings.catch_warnings():
                    warnings.simplefilter("always", FeedbackWarning)
                    warnings.showwarning = _show_warning(warnings.showwarning)
                    return super().invoke(ctx)
            except (click.ClickException, click.Abort, click.exceptions.Exit):
                raise
            except (KeyboardInterrupt, Stopped) as stop:
                message, code = _stopped(stop)
                if self.own_process:
                    ignore_further_signals()
            except BrokenPipeError:
                raise  # the reader of the output has gone: click ends the process quietly
            except Exception as error:
                message, code = _sentence(error, ctx)
                message = click.style("error: ", fg="red", bold=True) + message
                if ctx.params.get("debug"):
                    click.echo(traceback.format_exc(), err=True, nl=False)
            click.echo(message, err=True)
            raise click.exceptions.Exit(code)


def _stopped(stop: BaseException) -> tuple[str, int]:
    """What to say of a stop, and the exit code.

    A second Ctrl-C that came while the first one was being dealt with says nothing of what is saved; the first does.
    """
    first: BaseException | None = stop
    while first is not None and not isinstance(first, Stopped):
        first = first.__context__
    if isinstance(first, Stopped):
        return str(first), first.code
    assert isinstance(stop, KeyboardInterrupt)
    return "stopped; what was finished before is kept, and the same command resumes from there", exit_code(stop)


def _sentence(error: Exception, ctx: click.Context) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    command = ctx.invoked_subcommand or ""
    if isinstance(error, UserError | FeedbackError):
        return str(error), USAGE
    if _is_memory(error):
        smaller = SMALLER.get(command, "images.size")
        return (
            f"not enough memory: {command} needs more than there is ({_first_line(error)}); make {smaller} smaller",
            USAGE,
        )
    if isinstance(error, OSError) and error.errno in FULL | REFUSED:
        return _refusal(error), USAGE
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files: {command}; raise the limit (`ulimit -n`)", USAGE
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"too many threads: {command}; make runtime.threads, infer.workers or serve.workers smaller", USAGE
    return (
        f"unexpected error: {type(error).__name__}: {_first_line(error)}; {write_log(error)}; please report them",
        SOFTWARE,
    )


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in NO_MEMORY)


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text[:300] or type(error).__name__


def _refusal(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return f"{where}{error.strerror}; make room and run the same command again, it resumes from what is saved"
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
