"""Logical replication's subscriptions: a restored copy has them, asleep, and never touches the original's slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dwebbackup.sources.postgres.connection import Connection, execute, identifier, literal

_LISTED = """SELECT subname::text, subenabled, coalesce(subslotname::text, '') FROM pg_catalog.pg_subscription
    WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = {}) ORDER BY 1"""
"""What everybody may see. The publisher's address, which may hold a password, only a superuser sees."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription of a database."""

    name: str
    enabled: bool
    slot: str
    """From which it reads on the publisher; empty where it has none."""


def listed(connection: Connection, database: str = "") -> tuple[Subscription, ...]:
    """Those of *database*, or of the one that we are connected to."""
    which = literal(database) if database else "current_database()"
    return tuple(Subscription(*row) for row in execute(connection, _LISTED.format(which)))


def part(connection: Connection) -> tuple[str, ...]:
    """Part a restored database's subscriptions from their slots; what the user should know.

    pg_restore leaves them disabled, but in charge of the original's slot: DROP SUBSCRIPTION would drop that.
    """
    notes = []
    for subscription in listed(connection):
        _let_go(connection, subscription)
        notes.append(
            f"subscription {subscription.name} is disabled and has no slot; if this database takes the original's "
            f"place, then, without what the original took in since the backup: {'; '.join(_to_follow(subscription))}"
        )
    return tuple(notes)


def _to_follow(subscription: Subscription) -> Sequence[str]:
    begin = f"ALTER SUBSCRIPTION {identifier(subscription.name)}"
    return (
        *([f"{begin} SET (slot_name = {literal(subscription.slot)})"] if subscription.slot else []),
        f"{begin} ENABLE",
        f"{begin} REFRESH PUBLICATION WITH (copy_data = false)",
    )


def drop_all(connection: Connection) -> None:
    """Drop them without a word to their publishers: a database with a subscription cannot be dropped."""
    for subscription in listed(connection):
        _let_go(connection, subscription)
        execute(connection, f"DROP SUBSCRIPTION {identifier(subscription.name)}")


def _let_go(connection: Connection, subscription: Subscription) -> None:
    begin = f"ALTER SUBSCRIPTION {identifier(subscription.name)}"
    if subscription.enabled:
        execute(connection, f"{begin} DISABLE")
    if subscription.slot:
        execute(connection, f"{begin} SET (slot_name = NONE)")
