"""MySQL 8.0 and newer, MariaDB 10.6 and newer: one consistent snapshot out, and back beside what is there."""

from dwebbackup.sources.mysql.dump import MysqlSource
from dwebbackup.sources.mysql.target import MysqlTarget

__all__ = ["MysqlSource", "MysqlTarget"]
