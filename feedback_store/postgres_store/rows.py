"""Rows of the two tables to and from PostgreSQL: by COPY where there are many, by INSERT where there are few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from feedback_store.errors import FeedbackError, shown
from feedback_store.retraction import StoredIds
from feedback_store.tables import TABLES, Row, TableName

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

PIECE_ROWS = 50_000  # rows that are parsed at once, so that memory does not grow with the collection
MAX_ID = 400  # characters; an entry of an index has to fit into a third of a page, with the collection's name
_NAMES = {table: f"image_rlhf.{table}" for table in TABLES}


def end_of(connection: psycopg.Connection, collection: str) -> int:
    """Position of the last row of a collection; 0 if there is none."""
    return ask_end(connection, collection)()


def ask_end(connection: psycopg.Connection, collection: str) -> Callable[[], int]:
    """Ask for the same; the result of the call is a function that waits for it."""
    parts = " UNION ALL ".join(
        f"SELECT max(position) AS p FROM {name} WHERE collection = %s" for name in _NAMES.values()
    )
    query = f"SELECT coalesce(max(p), 0) FROM ({parts}) AS ends"
    cursor = connection.execute(query, [collection] * len(_NAMES))

    def read() -> int:
        ((end,),) = cursor.fetchall()
        return int(end)

    return read


def rows_between(
    connection: psycopg.Connection, collection: str, table: TableName, start: int, end: int
) -> list[tuple[int, Row]]:
    """Position and cells of the rows behind `start` up to `end`, in order."""
    names = TABLES[table]
    query = f"SELECT position, {', '.join(names)} FROM {_NAMES[table]} WHERE collection = %s AND position > %s AND position <= %s ORDER BY position"
    found = connection.execute(query, (collection, start, end))
    return [(row[0], dict(zip(names, row[1:], strict=True))) for row in found]


def known_ids(
    connection: psycopg.Connection, collection: str, rows: Mapping[TableName, Sequence[Row]]
) -> Callable[[], dict[TableName, StoredIds]]:
    """Ask what is stored of the ids that rows have or retract; the result of the call is a function that waits for it."""
    asked = {}
    for table, given in rows.items():
        ids, targets = [row["id"] for row in given], [row["retracts"] for row in given if row["retracts"]]
        query = f"""
            SELECT id, NULL FROM {_NAMES[table]} WHERE collection = %s AND id = ANY(%s)
            UNION ALL SELECT NULL, retracts FROM {_NAMES[table]}
            WHERE collection = %s AND retracts <> '' AND retracts = ANY(%s)
        """
        asked[table] = connection.execute(query, (collection, ids + targets, collection, targets))

    def read() -> dict[TableName, StoredIds]:
        found = {}
        for table, cursor in asked.items():
            known = found[table] = StoredIds()
            for judgment, retracted in cursor:
                known.learn([judgment] if judgment else [], [retracted] if retracted else [])
        return found

    return read


def insert(
    connection: psycopg.Connection, collection: str, table: TableName, rows: Sequence[Row], position: int
) -> int:
    """Insert rows behind a position; returns the position of the last one."""
    names = TABLES[table]
    check_ids(row["id"] for row in rows)
    query = (
        f"INSERT INTO {_NAMES[table]} (collection, position, {', '.join(names)}) "
        f"VALUES (%s, %s, {', '.join(['%s'] * len(names))})"
    )
    values = [(collection, position + n, *(row[name] for name in names)) for n, row in enumerate(rows, start=1)]
    with connection.cursor() as cursor:
        cursor.executemany(query, values)
    return position + len(rows)


def check_ids(ids: Any) -> None:
    """Raise FeedbackError for the first id that is too long for an index."""
    for judgment in ids:
        if len(judgment) > MAX_ID:
            raise FeedbackError(
                f"the id {shown(judgment)} has {len(judgment)} characters; a PostgreSQL store takes at most {MAX_ID}"
            )


def frames(
    connection: psycopg.Connection, collection: str, table: TableName, start: int, end: int
) -> Iterator[pd.DataFrame]:
    """The rows behind `start` up to `end` in frames of at most PIECE_ROWS rows, at least one; the index is the position."""
    from psycopg import sql

    names = ("position", *TABLES[table])
    query = sql.SQL(
        "COPY (SELECT {names} FROM {table} WHERE collection = {collection} AND position > {start} AND position <= {end} "
        "ORDER BY position) TO STDOUT (FORMAT csv)"
    ).format(
        names=sql.SQL(", ").join(map(sql.Identifier, names)),
        table=_table(table),
        collection=sql.Literal(collection),
        start=sql.Literal(start),
        end=sql.Literal(end),
    )
    lines: list[bytes] = []
    given = False
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for data in copy:  # one row each
            lines.append(bytes(data))
            if len(lines) >= PIECE_ROWS:
                yield _parsed(lines, names)
                lines, given = [], True
    if lines or not given:
        yield _parsed(lines, names)


def _parsed(lines: Sequence[bytes], names: Sequence[str]) -> pd.DataFrame:
    if not lines:
        empty = pd.DataFrame({name: pd.Series(dtype=str) for name in names[1:]})
        return empty.set_index(pd.Index(np.array([], dtype=np.int64), name="row"))
    types = dict.fromkeys(names[1:], pa.string()) | {names[0]: pa.int64()}
    found = arrow_csv.read_csv(
        pa.BufferReader(b"".join(lines)),
        read_options=arrow_csv.ReadOptions(column_names=list(names)),
        parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    frame = pd.DataFrame({name: pd.Series(found[name].to_pandas(), dtype=str) for name in names[1:]})
    return frame.set_index(pd.Index(found[names[0]].to_numpy(), name="row"))


def copy_in(
    connection: psycopg.Connection, collection: str, table: TableName, frame: pd.DataFrame, position: int
) -> int:
    """Store the rows of a frame as they are, behind a position; returns the position of the last one."""
    from psycopg import sql

    check_ids(frame["id"])
    names = ("collection", "position", *TABLES[table])
    columns = [pa.array([collection] * len(frame)), pa.array(np.arange(position + 1, position + 1 + len(frame)))]
    columns += [pa.array(frame[name].tolist(), pa.string()) for name in TABLES[table]]
    buffer = pa.BufferOutputStream()
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    arrow_csv.write_csv(pa.table(dict(zip(names, columns, strict=True))), buffer, options)
    listed = sql.SQL(", ").join(map(sql.Identifier, names))
    query = sql.SQL("COPY {table} ({names}) FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({names}))")
    with connection.cursor() as cursor, cursor.copy(query.format(table=_table(table), names=listed)) as copy:
        copy.write(buffer.getvalue().to_pybytes())
    return position + len(frame)


def _table(table: TableName) -> sql.Identifier:
    from psycopg import sql

    return sql.Identifier("image_rlhf", table)
