"""The secrets of personal links in the database, so that a link is valid on every server of the collection."""

from __future__ import annotations

from collections.abc import Sequence

from feedback_store.postgres_store.database import Database
from stages.collect.web.link_secrets import new_key, new_token


class PostgresSecrets:
    """Args:
    collection: of the judgments.
    """

    def __init__(self, database: Database, collection: str) -> None:
        self._database, self._collection = database, collection

    def load(self, names: Sequence[str]) -> tuple[str, dict[str, str]]:
        """The key and the token of each name. Of two servers that start at once, the first one's secrets are both's.

        Raises:
            FeedbackError: the database cannot be reached or refuses.
        """
        with self._database.connection() as connection:
            connection.execute(
                "INSERT INTO image_rlhf.link_keys (collection, key) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (self._collection, new_key()),
            )
            made = [(self._collection, name, new_token()) for name in sorted(names)]
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO image_rlhf.link_tokens (collection, name, token) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    made,
                )
            keys = connection.execute("SELECT key FROM image_rlhf.link_keys WHERE collection = %s", (self._collection,))
            ((key,),) = keys.fetchall()
            query = "SELECT name, token FROM image_rlhf.link_tokens WHERE collection = %s"
            return key, dict(connection.execute(query, (self._collection,)).fetchall())
