"""The commands about stores of judgments: make the tables of a database, and copy from one store to another."""

from __future__ import annotations

from pathlib import Path

import click

from feedback_store.errors import FeedbackError


@click.group()
def store() -> None:
    """Make the tables of a PostgreSQL database, and copy judgments between stores."""


@store.command()
@click.option("--store", "location", required=True, metavar="ADDRESS", help="postgresql://owner@host/database")
def migrate(location: str) -> None:
    """Make or update the tables in a database; a current one is left as it is.

    Log in as the owner of the database. The password comes from PGPASSWORD, ~/.pgpass or a service file.
    """
    from feedback_store.postgres_store.address import parse_address
    from feedback_store.postgres_store.migrate import migrate as apply

    if location.partition("://")[0] != "postgresql":
        raise FeedbackError(
            f"{location}: only PostgreSQL has tables to make; name a database, postgresql://host/database"
        )
    address = parse_address(location, Path("all")).connection
    done = apply(address)
    click.echo(f"{address}: " + (f"applied {', '.join(done)}" if done else "the tables are current"))


@store.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> None:
    """Copy all judgments, late and retracted ones included, FROM one store TO another.

    A store is a folder of CSV files or an address, postgresql://host/database?collection=NAME; without a collection it is
    the run's name, as in the other store's folder. The rows of TO must be the first rows of FROM: an older copy is brought
    up to date.
    """
    from feedback_store.copying import copy_store
    from feedback_store.postgres_store.address import COLLECTION
    from feedback_store.store_registry import open_store

    places = []
    for location, other in ((source, target), (target, source)):
        if "://" in location:
            folder = None if "://" in other or f"{COLLECTION}=" in location else Path(other)
            places.append(open_store(location, folder))
        else:
            places.append(open_store(Path(location)))
    if not Path(source).is_dir() and "://" not in source:
        raise FeedbackError(
            f"{source}: no such folder; name a folder of CSV files, e.g. runs/NAME/feedback, or an address"
        )
    counted, late = copy_store(*places)
    more = f" and {late} late answers" if late else ""
    click.echo(f"{counted} judgments{more} copied to {places[1].location}")
