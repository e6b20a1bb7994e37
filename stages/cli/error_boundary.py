"""The one place where errors end a command: each becomes a message and an exit code.

Exit codes: 2 for what the user can fix, 70 for an error of the program itself, whose details go to a log file,
130 and 143 for Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import errno
import os
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

USER_ERROR_CODE, INTERNAL_ERROR_CODE = 2, 70  # 70 is EX_SOFTWARE of sysexits.h
# Errors that the system may report at any moment, even after a check; every other OSError is a bug.
DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
REFUSED_ERRNOS = {
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
# torch reports a lack of memory by errors of several types that share only these texts.
OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
# The settings to lower when a command runs out of memory.
MEMORY_SETTINGS = {
    "reference": "reference.batch_size or images.size",
    "collect": "images.size or images.max_pixels",
    "train-reward": "reward.batch_size, reward.members or images.size",
    "ppo": "ppo.minibatch_size, ppo.batch_size or images.size",
    "run": "reference.batch_size, reward.batch_size, ppo.minibatch_size or images.size",
    "infer": "infer.batch_size, infer.workers or images.max_pixels",
    "rank": "model.max_tokens",
    "serve": "serve.batch_size, serve.workers or serve.max_pixels",
}


class UserErrors(click.Group):
    """A group whose commands end with a message; a traceback is shown with `--debug` only."""

    own_process = False

    def main(self, args: Any = None, *more: Any, **named: Any) -> Any:
        self.own_process = args is None  # no arguments passed: those of the process are used
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
                message, code = _stop_message(stop)
                if self.own_process:
                    ignore_further_signals()
            except BrokenPipeError:
                raise  # the reader of the output has gone: click ends the process quietly
            except Exception as error:
                message, code = _error_message(error, ctx)
                message = click.style("error: ", fg="red", bold=True) + message
                if ctx.params.get("debug"):
                    click.echo(traceback.format_exc(), err=True, nl=False)
            click.echo(message, err=True)
            raise click.exceptions.Exit(code)


def _stop_message(stop: BaseException) -> tuple[str, int]:
    """The message about a stop, and the exit code.

    The message is that of the first signal: it names what is saved. A second Ctrl-C during its handling has no message.
    """
    first: BaseException | None = stop
    while first is not None and not isinstance(first, Stopped):
        first = first.__context__
    if isinstance(first, Stopped):
        return str(first), first.code
    assert isinstance(stop, KeyboardInterrupt)
    return "stopped; what was finished before is kept, and the same command resumes from there", exit_code(stop)


def _error_message(error: Exception, ctx: click.Context) -> tuple[str, int]:
    """The message about an error, and the exit code."""
    command = ctx.invoked_subcommand or ""
    if isinstance(error, UserError | FeedbackError):
        return str(error), USER_ERROR_CODE
    if _lost_process(error):
        return (
            "another process of this run ended, or did not answer within runtime.process_timeout; see its message. The same "
            "command resumes from the last checkpoint, with any number of processes",
            USER_ERROR_CODE,
        )
    if _is_memory(error):
        settings = MEMORY_SETTINGS.get(command, "images.size")
        return (
            f"not enough memory: {command} needs more than is available ({_first_line(error)}); lower {settings}",
            USER_ERROR_CODE,
        )
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS | REFUSED_ERRNOS:
        return _refusal(error), USER_ERROR_CODE
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"too many open files: {command}; raise the limit (`ulimit -n`)", USER_ERROR_CODE
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return f"too many threads: {command}; lower runtime.threads, infer.workers or serve.workers", USER_ERROR_CODE
    return (
        f"unexpected error: {type(error).__name__}: {_first_line(error)}; {write_log(error)}; please report them",
        INTERNAL_ERROR_CODE,
    )


def _lost_process(error: Exception) -> bool:
    if "RANK" not in os.environ:
        return False
    from pipeline.run.processes import lost_process  # torch is slow to import, and has been here

    return lost_process(error)


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return text[:300] or type(error).__name__


def _refusal(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in DISK_FULL_ERRNOS:
        return f"{where}{error.strerror}; free some space and run the same command again, it resumes from what is saved"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}a file is in the place of a folder; move the file, or name another folder"
    return f"{where}{error.strerror}; fix that, or name another place"


def _show_warning(default: Callable[..., None]) -> Callable[..., None]:
    """A `warnings.showwarning` that prints warnings about judgments for the user; `default` shows all others."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, FeedbackWarning):
            click.echo(click.style("warning: ", fg="yellow", bold=True) + str(message), err=True)
        else:
            default(message, category, *where, **more)

    return show
