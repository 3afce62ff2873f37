"""One ordinary MariaDB server with a gigabyte in it, for the rows that measure against MariaDB's own tools."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = ("--innodb-buffer-pool-size=256M", "--innodb-log-file-size=1G", "--innodb-flush-log-at-trx-commit=1")

SOURCE, TARGET = "source", "target"

_PATIENCE = 60
"""Seconds for it to come up."""

# As the PostgreSQL arena: many narrow rows, JSON and text with indexes, and what nobody can compress.
_FILL = """
CREATE TABLE accounts (id INT PRIMARY KEY, bid INT, balance INT, filler CHAR(84) NOT NULL, KEY (bid)) CHARSET latin1;
INSERT INTO accounts SELECT seq, seq % 100, 0, repeat('x', 84) FROM seq_1_to_{accounts};
CREATE TABLE events (id BIGINT PRIMARY KEY AUTO_INCREMENT, at DATETIME(6), kind VARCHAR(20), body TEXT, price DECIMAL(10, 2),
  ratio DOUBLE, who VARCHAR(64), KEY (at), KEY (kind, who)) CHARSET utf8mb4;
INSERT INTO events (at, kind, body, price, ratio, who) SELECT '2026-01-01' + INTERVAL seq SECOND,
  elt(1 + seq % 4, 'click', 'view', 'buy', 'return'),
  concat('{{"session": "', md5(seq), '", "path": "/shop/item/', seq % 9999, '", "ref": "', sha1(seq), '"}}'),
  seq % 1000 / 7, seq / 13, if(seq % 5 = 0, NULL, md5(seq % 50000)) FROM seq_1_to_{events};
CREATE TABLE images (id INT PRIMARY KEY, data MEDIUMBLOB);
INSERT INTO images SELECT seq, random_bytes(1024) FROM seq_1_to_{images};
UPDATE images SET data = concat(data, data, data, random_bytes(1024), random_bytes(1024), random_bytes(1024));
ANALYZE TABLE accounts, events, images;
"""


@dataclass(frozen=True, slots=True)
class MariadbServer:
    """A server on a socket."""

    socket: Path

    def run(self, sql: str, database: str = "") -> str:
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "-uroot", "-BN", *filter(None, [database])]
        return subprocess.run(command, input=sql, capture_output=True, text=True, check=True).stdout

    def url(self, database: str) -> str:
        return f"mysql://root@/{database}?socket={self.socket}"

    def clear_target(self) -> None:
        self.run(f"DROP DATABASE IF EXISTS {TARGET}; CREATE DATABASE {TARGET}")

    def check_target(self) -> None:
        """Nobody is fast who restored less than everything."""
        counted = "SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM events), (SELECT count(*) FROM images)"
        if self.run(counted, TARGET) != self.run(counted, SOURCE):
            raise SystemExit("the restored database has other rows than the source")


@contextlib.contextmanager
def mariadb_server(scale: float) -> Iterator[MariadbServer]:
    """Start it and fill it; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dwebbackup-bench-my-", dir="/tmp") as name:
        folder, as_user = Path(name), _as_user(name)
        words = ("--no-defaults", f"--datadir={folder / 'data'}", "--auth-root-authentication-method=normal")
        subprocess.run(["mariadb-install-db", *words], check=True, capture_output=True, **as_user)
        program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin") or "mariadbd"
        places = (f"--datadir={folder / 'data'}", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}")
        with subprocess.Popen(
            [program, "--no-defaults", "--skip-networking", *places, *SETTINGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        ) as process:
            try:
                server = MariadbServer(folder / "s")
                _wait(server)
                server.run(f"CREATE DATABASE {SOURCE}")
                rows = {"accounts": 4000000, "events": 2000000, "images": 20000}
                server.run(_FILL.format(**{table: max(1, int(rows[table] * scale)) for table in rows}), SOURCE)
                yield server
            finally:
                process.terminate()


def _wait(server: MariadbServer) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            server.run("SELECT 1")
        except subprocess.CalledProcessError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _as_user(folder: str) -> dict[str, Any]:
    """No such server runs as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("mysql")
    os.chown(folder, user.pw_uid, user.pw_gid)
    os.chmod(folder, 0o755)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
