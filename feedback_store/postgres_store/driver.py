"""psycopg, imported when a database is first used, and its errors as errors of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feedback_store.errors import FeedbackError, UnreachableError

if TYPE_CHECKING:
    import psycopg

ROLE = "image_rlhf_server"  # what servers are members of; the migrations make it
MIGRATE = "image-rlhf store migrate --store ADDRESS"


def require_driver() -> None:
    """Raise FeedbackError unless psycopg is installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise FeedbackError(
            f"collect.store: a PostgreSQL store needs the package psycopg ({error}); "
            "install it with: pip install 'image-rlhf[postgres]'"
        ) from error


@contextmanager
def named_errors(location: str) -> Iterator[None]:
    """Turn an error of psycopg into a FeedbackError that names the database and says what to do."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise _named(error, location) from error


def is_gone(error: BaseException | None) -> bool:
    """Whether an error means that the connection is lost or was never made."""
    import psycopg

    if isinstance(error, psycopg.OperationalError):
        # 08: connection exception; 57P: the server was shut down or is starting; none: the connection broke
        return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    return isinstance(error, psycopg.InterfaceError)


def _named(error: psycopg.Error, location: str) -> FeedbackError:
    from psycopg import errors

    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.UndefinedColumn):
        return FeedbackError(f"{location}: the tables are missing or old ({said}); run `{MIGRATE}`")
    if isinstance(error, errors.InsufficientPrivilege):
        return FeedbackError(
            f"{location}: {said}; log in as a member of the role {ROLE} (GRANT {ROLE} TO ...), or for `store migrate` as "
            "the owner of the database"
        )
    if is_gone(error):
        return UnreachableError(
            f"{location}: the database cannot be reached ({said}); start it, or check the address and the password "
            "(PGPASSWORD, ~/.pgpass or a service file)"
        )
    return FeedbackError(f"{location}: the database refused it ({said}); fix that and do it again")


def connect(connection: str, *, application: str = "image-rlhf") -> psycopg.Connection:
    """A connection in autocommit mode, with the settings that the store relies on.

    Raises:
        psycopg.Error: the database cannot be reached.
    """
    import psycopg

    made = psycopg.connect(
        connection,
        autocommit=True,
        connect_timeout=5,
        application_name=application,
        client_encoding="UTF8",
        keepalives_idle=30,
        tcp_user_timeout=30_000,  # milliseconds: of a network that swallows packets
    )
    # Positions are read after a lock was waited for, which needs a new snapshot for each statement.
    made.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    # An answer is acknowledged after COMMIT, which therefore has to mean that it is on disk. A server that hangs in a
    # transaction must not keep the locks of others.
    made.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    made.execute("SET idle_in_transaction_session_timeout = '60s'")
    made.execute("SET lock_timeout = '30s'")
    return made
