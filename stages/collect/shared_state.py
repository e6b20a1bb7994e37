"""Where the servers of a collection keep what they share: in the database of the judgments, or in the run's folder."""

from __future__ import annotations

from pathlib import Path

from feedback_store.postgres_store.store import PostgresStore
from feedback_store.store import FeedbackStore
from stages.collect.lease_keeper import LeaseKeeper
from stages.collect.leases import Leases
from stages.collect.postgres_leases import PostgresLeases
from stages.collect.web.personal_links import LinkSecrets
from stages.collect.web.postgres_links import PostgresSecrets


def leases_of(store: FeedbackStore, folder: Path) -> LeaseKeeper:
    """What keeps the leases of a collection.

    Args:
        folder: of the stage, for stores that are no database.
    """
    if isinstance(store, PostgresStore):
        return PostgresLeases(store.database, store.collection)
    return Leases(folder / "leases.sqlite")


def link_secrets_of(store: FeedbackStore, folder: Path) -> LinkSecrets | Path:
    """What keeps the secrets of a collection's links; the arguments are those of `leases_of`."""
    if isinstance(store, PostgresStore):
        return PostgresSecrets(store.database, store.collection)
    return folder / "links.json"
