"""PostgreSQL 13 to 18: one consistent snapshot out, and back under a temporary name."""

from dwebbackup.sources.postgres.dump import PostgresSource
from dwebbackup.sources.postgres.target import PostgresTarget

__all__ = ["PostgresSource", "PostgresTarget"]
