"""What keeps a database from being renamed or dropped, and would show only after all was restored: asked beforehand."""

from __future__ import annotations

from dwebbackup.sources.postgres.connection import Connection, execute, literal

_LISTED = """SELECT concat('the prepared transaction ', gid),
      format('COMMIT PREPARED %L or ROLLBACK PREPARED %L, connected to it', gid, gid)
    FROM pg_catalog.pg_prepared_xacts WHERE database = {name}
  UNION ALL
    SELECT concat('the replication slot ', slot_name, CASE WHEN active THEN ', which somebody reads' END),
      CASE WHEN active THEN 'stop who reads the slot, for as long as the restore takes'
        ELSE format('SELECT pg_drop_replication_slot(%L), if nobody needs it', slot_name) END
    FROM pg_catalog.pg_replication_slots WHERE database = {name} AND (active OR {dropped})
  UNION ALL
    SELECT concat('the server process ', pid, ' (', concat_ws(', ', backend_type, nullif(application_name, '')), ')'),
      CASE backend_type WHEN 'walsender' THEN 'stop who replicates from it'
        ELSE 'turn off what runs it: an extension, most likely' END
    FROM pg_catalog.pg_stat_activity a WHERE datname = {name}
      AND backend_type NOT IN ('client backend', 'autovacuum worker', 'parallel worker')
      AND backend_type NOT LIKE 'logical replication %'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = a.pid)"""
"""Sessions of clients are ended by us, and the other two kinds go with them or give way; what follows a publisher is
looked at by its subscription, after whose end it lingers for a moment."""


def listed(connection: Connection, name: str, *, dropped: bool) -> tuple[tuple[str, str], ...]:
    """(what, what to do) of all that is in the way; *dropped*: the database is to be dropped, and its slots with it."""
    rows = execute(connection, _LISTED.format(name=literal(name), dropped=dropped))
    return tuple((what, remedy) for what, remedy in rows)
