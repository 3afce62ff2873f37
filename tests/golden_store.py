"""Makes the golden store in tests/vectors: three small backups by one writer, whose every stream is known.

    python tests/golden_store.py FOLDER

It is made once and then only read, so that every later version shows that it still can.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from dwebbackup import access, drafting, packing, records
from dwebbackup.catalog import GENESIS
from dwebbackup.manifest import Checkpoint, Genesis
from dwebbackup.stores.local import LocalStore
from faulty import MemoryStore
from synthetic import OWNER, WRITER, Contents, SyntheticSource, back_up, small_pieces


def text(lines: range) -> bytes:
    """Rows as COPY writes them."""
    return b"".join(
        b"%d\tuser%d@example.com\t%s\n" % (line, line * line % 9973, b"\\N" if line % 7 else b"t") for line in lines
    )


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"golden").digest(size)


def backups() -> list[Contents]:
    """What the source holds at each of them: unchanged streams, a changed, a new, an empty one and a dropped one."""
    first = {"schema": b"CREATE TABLE users (id bigint, email text, active boolean);\n" * 3}
    first |= {"users": text(range(900)), "blobs": noise(9000), "none": b""}
    second = first | {"users": text(range(400)) + b"401\tchanged\t\\N\n" + text(range(401, 950))}
    third = {name: data for name, data in second.items() if name != "blobs"}
    return [first, second, third | {"copy": second["users"] + noise(3000)}]


def make(folder: Path) -> None:
    """The store, and `expected.json` with what is in it. *folder* must not have one yet."""
    store = MemoryStore("golden")
    part = access.below(store, WRITER.id)
    part.put(GENESIS, records.write_line(Genesis(WRITER.id, 1, "2026-11-20T02:00:00Z"), OWNER.sign_seed))
    made = []
    with small_pieces() as patch:
        patch.setattr(packing, "SEALED_SIZE", 12 * 1024)
        for number, contents in enumerate(backups()):
            patch.setattr(drafting, "SPILL", 0 if number == 2 else 1 << 20)
            made.append(back_up(store, SyntheticSource(contents, "app"), jobs=1).backup)
    leave_checkpoint(part)
    local = LocalStore(folder)
    local.prepare()
    for name, data in store.objects.items():
        local.put(name, data)
    expected = {"words": OWNER.words, "writer": WRITER.id, "backups": []}
    for each, contents in zip(made, backups(), strict=True):
        streams = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
        expected["backups"].append({"id": each.ref.id, "sha256": each.ref.sha256, "streams": streams})
    with (folder / "expected.json").open("x") as file:
        file.write(json.dumps(expected, indent=1) + "\n")


def leave_checkpoint(part) -> None:
    """As a run does that was killed."""
    signer = records.Signer(WRITER.sign_seed, WRITER.verify_key, (WRITER.owner_recipient, WRITER.catalog_recipient))
    killed = Checkpoint(WRITER.id, "0" * 16, 0, "2026-11-20T05:00:00Z", "2026-11-20T05:00:00Z")
    part.put(f"checkpoints/{killed.run}-0.age", records.seal(killed, signer))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
