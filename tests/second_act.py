"""The demo's second act: backups in a bucket, a folder and an IPFS node; two of them are wiped, and the words bring all back.

Every command is run as a user would type it. `python tests/second_act.py` tells it; a test listens.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from calling import PROGRAM, environment
from dwebbackup import demo
from dwebbackup.report.wording import count, size
from dwebbackup.scratch.postgres import Binaries, ScratchPostgres, install_postgres
from dwebbackup.scratch.sample import fill_sample
from fix_ceph import PROGRAMS, Ceph
from fix_ipfs import IpfsNode
from s3_server import S3Server, require

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the backups go."""

    bucket: str
    server: S3Server
    folder: Path
    network: str
    """The third store's URL: what survives."""

    @property
    def settings(self) -> dict[str, str]:
        """Of the first machine."""
        stores = (
            f"s3://{self.bucket}/app?endpoint={self.server.http}&region=us-east-1&name=bucket",
            f"file://{quote(str(self.folder))}?name=folder",
            self.network,
        )
        key = self.server.key
        return {
            "STORE": " ".join(stores),
            "STORE_BUCKET_ACCESS_KEY_ID": key.id,
            "STORE_BUCKET_SECRET_ACCESS_KEY": key.secret,
        }

    def wipe(self) -> None:
        """The bucket and the folder are gone."""
        client = self.server.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for entry in page.get("Contents", ()):
                client.delete_object(Bucket=self.bucket, Key=entry["Key"])
        client.delete_bucket(Bucket=self.bucket)
        shutil.rmtree(self.folder)


def tell(say: Say, places: Places, binaries: Binaries, networks: Mapping[str, str]) -> list[str]:
    """Tell it; gives the names of what differs in the end. *networks*: all that the second machine is told."""
    words = str(_dwebbackup({}, "key", "new")["words"])
    with ScratchPostgres(binaries) as server:
        server.psql(f"CREATE DATABASE {demo.DATABASE} TEMPLATE template0")
        fill_sample(server, demo.DATABASE)
        _back_up(say, server, words, places, binaries)
        server.psql(demo.CHANGES, demo.DATABASE)
        _back_up(say, server, words, places, binaries)
        before = demo.parts_of(server)
        server.kill()
    places.wipe()
    say("   The lease ends. The bucket is emptied and deleted, the folder removed, every credential forgotten.")
    with ScratchPostgres(binaries) as server:
        say("   Another machine has the 24 words, and the address of a gateway:")
        for name, value in networks.items():
            say(f"     DWEBBACKUP_{name}={value}")
        to = server.uri(demo.DATABASE)
        settings = {"KEY": words, "POSTGRES_BIN": str(binaries.pg_dump.parent), **networks}
        say(f"     dwebbackup restore latest --to postgresql://…/{demo.DATABASE}")
        done = _dwebbackup(settings, "restore", "latest", "--to", to)
        say(f"   backup {done['backup']} is restored: {count(done['tables'], 'table')}, {count(done['rows'], 'row')}")
        different = demo.differing(before, demo.parts_of(server))
    say(f"   Compared: {'all equal' if not different else 'DIFFERENT: ' + ', '.join(different)}")
    return different


def _back_up(say: Say, server: ScratchPostgres, words: str, places: Places, binaries: Binaries) -> None:
    source = {"SOURCE": server.uri(demo.DATABASE), "KEY": words, "POSTGRES_BIN": str(binaries.pg_dump.parent)}
    done = _dwebbackup(source | places.settings, "backup")
    say(f"   backup {done['backup']}: {size(done['bytes_read'])} read, {size(done['bytes_stored'])} into each store")
    for link in done["manifest"]["links"]:
        say(f"     {link}")


def _dwebbackup(settings: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [*PROGRAM, *arguments, "--json"], env=environment(settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def here(folder: Path) -> Iterator[tuple[Places, dict[str, str]]]:
    """An S3 server and an IPFS node on this machine; and what leads to that node's gateway."""
    require(PROGRAMS, "radosgw ceph-mon ceph-osd")
    (folder / "ipfs").mkdir()
    with Ceph.running(folder) as server, IpfsNode.running(folder / "ipfs") as node:
        yield Places(server.bucket(), server, folder / "store", ipfs_store(node)), {"GATEWAYS": node.gateway}


def ipfs_store(node: IpfsNode) -> str:
    return f"ipfs+http://{node.address}/app?name=ipfs"


def main(_arguments: Sequence[str]) -> int:
    print("\nSecond act: a bucket, a folder and an IPFS node, all on this machine")
    with tempfile.TemporaryDirectory(prefix="dwb-") as folder, here(Path(folder)) as (places, networks):
        os.chmod(folder, 0o755)
        binaries = install_postgres(print, "")
        different = tell(print, places, binaries, networks)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
