"""What PostgreSQL hides from a backup's role without an error, so that it is not in the backup."""

from __future__ import annotations

from collections.abc import Iterator

from dwebbackup.sources.postgres import subscriptions
from dwebbackup.sources.postgres.connection import Connection, execute

_MAPPINGS = """SELECT usename::text, srvname::text FROM pg_catalog.pg_user_mappings
    WHERE umoptions IS NULL ORDER BY 2, 1"""


def unseen(connection: Connection) -> Iterator[str]:
    """A sentence each. A superuser sees everything."""
    if execute(connection, "SELECT current_setting('is_superuser') = 'on'")[0][0]:
        return
    hidden = [subscription.name for subscription in subscriptions.listed(connection)]
    if hidden:
        yield f"without the subscriptions {', '.join(hidden)}, whose addresses only a superuser may read"
    mappings = [f"{user} on {server}" for user, server in execute(connection, _MAPPINGS)]
    if mappings:
        yield (
            f"the user mappings {', '.join(mappings)} have no options, such as a password: "
            "this backup's role may not read them, if there are any"
        )
