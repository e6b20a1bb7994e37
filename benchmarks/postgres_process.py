"""A PostgreSQL server of its own in a temporary folder on a free port, for the load test and for tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

OWNER, SERVER, DATABASE = "owner", "judge_server", "judgments"


def postgres_programs() -> Path | None:
    """The folder of initdb and pg_ctl; None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found and (Path(found).resolve().parent / "postgres").exists():  # the name may be a link
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    folders = sorted((path.parent for path in installed), key=lambda path: int(re.sub(r"\D", "", path.parts[-2]) or 0))
    return folders[-1] if folders else None


class PostgresProcess:
    """A running server with an empty database. The roles OWNER and SERVER have one password, in `password`.

    Args:
        durable: wait for the disk, as in use; tests that never cut the power do not need it.
    """

    def __init__(self, *, durable: bool = True) -> None:
        programs = postgres_programs()
        assert programs is not None, "see postgres_programs"
        self._programs = programs
        self.password = secrets.token_hex(16)
        self.folder = Path(tempfile.mkdtemp(prefix="image-rlhf-postgres-"))
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:  # initdb refuses root
            account = _account()
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        (self.folder / "password").write_text(self.password)
        if self._user:
            shutil.chown(self.folder / "password", account.pw_uid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run(
            "initdb", "-U", OWNER, "-A", "scram-sha-256", "--pwfile", self.folder / "password", "-E", "UTF8", "-N"
        )
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
            file.write("max_connections = 100\n" + ("" if durable else "fsync = off\nfull_page_writes = off\n"))
        self.start()
        self.execute(f"CREATE DATABASE {DATABASE}", database="postgres")

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), "-D", str(self.folder / "data"), *map(str, arguments)]
        with (self.folder / "messages").open("ab") as messages:
            subprocess.run(command, check=True, stdout=messages, stderr=messages, cwd=self.folder, **self._user)

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-l", self.folder / "log")

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "stop", "-w", "-m", how)

    def restart(self) -> None:
        """Stop at once, without a checkpoint, as after a crash, and start again."""
        self.stop("immediate")
        self.start()

    def remove(self) -> None:
        """Stop it if it runs, and delete everything."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it does not run
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, user: str = SERVER, database: str = DATABASE) -> str:
        """An address for `collect.store`; the password is `password`."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, user: str = OWNER, database: str = DATABASE) -> list[tuple[Any, ...]]:
        """Run statements; returns the rows of the last one."""
        import psycopg

        address = self.address(user, database)
        with psycopg.connect(address, password=self.password, autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement)  # type: ignore[call-overload]
            return found.fetchall() if found.description else []

    def add_server_role(self) -> None:
        """The role that servers log in as; needs the migrations."""
        self.execute(f"CREATE ROLE {SERVER} LOGIN PASSWORD '{self.password}'", f"GRANT image_rlhf_server TO {SERVER}")


def _account() -> pwd.struct_passwd:
    """An ordinary user for PostgreSQL's processes when this one is root."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise SystemExit("PostgreSQL does not run as root, and there is no user postgres or nobody; add one")
