"""An S3 store for the contenders: Ceph's gateway on this machine, its cluster in memory, as the tests run it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import processor_of

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # their modules find each other as pytest has it

from fix_ceph import PROGRAMS, Ceph

_DAEMONS = frozenset({"ceph-mon", "ceph-osd", "radosgw"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway with an empty bucket."""

    environment: Mapping[str, str]
    """`ENDPOINT`, `BUCKET`, `ACCESS_KEY` and `SECRET_KEY`, for the contenders' own variables."""

    def processor(self) -> float:
        """Seconds that it has been busy so far."""
        return processor_of(_DAEMONS)


@contextmanager
def gateway() -> Iterator[Gateway]:
    """A new one for every turn: what a predecessor stored would take memory, and makes a gateway slower."""
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        raise SystemExit(f"{', '.join(missing)}: not found; `.ci/system-packages bench` installs them")
    with TemporaryDirectory(prefix="dwebbackup-bench-") as folder, Ceph.running(Path(folder)) as ceph:
        yield Gateway(
            {
                "ENDPOINT": ceph.http,
                "BUCKET": ceph.bucket(),
                "ACCESS_KEY": ceph.key.id,
                "SECRET_KEY": ceph.key.secret,
            }
        )
