"""The published test vectors of the age format (C2SP/CCTV), as far as they are about X25519 and binary files."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from typing import NamedTuple

from dwebbackup import age
from dwebbackup.errors import Damaged, DwebbackupError, KeyForbids

RUN = {"success": 14, "no match": 3, "HMAC failure": 1, "header failure": 31, "payload failure": 18}
"""How many of each kind the package holds for us."""

FAILURES: dict[str, type[DwebbackupError]] = {
    "no match": KeyForbids,
    "HMAC failure": Damaged,
    "header failure": Damaged,
    "payload failure": Damaged,
}


class Vector(NamedTuple):
    """One vector: what its header says, and the age file."""

    facts: list[tuple[str, str]]
    sealed: bytes

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.facts if name == key]

    @property
    def expect(self) -> str:
        return self.all("expect")[0]

    def is_ours(self) -> bool:
        """No passphrase (scrypt), no armor, no post-quantum identity."""
        hybrid = any(text.startswith("AGE-SECRET-KEY-PQ-") for text in self.all("identity"))
        return not (hybrid or self.all("passphrase") or self.all("armored"))


def parse(vector: bytes) -> Vector:
    head, _, sealed = vector.partition(b"\n\n")
    facts = [tuple(line.split(": ", 1)) for line in head.decode().splitlines()]
    compressed = ("compressed", "zlib") in facts
    return Vector(facts, zlib.decompress(sealed) if compressed else sealed)


def complaint(vector: Vector) -> str:
    """What is wrong with how we open it; nothing if all is well."""
    identities = [age.identity_from_text(text) for text in vector.all("identity")]
    try:
        plain = age.unseal(vector.sealed, identities)
    except (Damaged, KeyForbids) as error:
        # A header that cannot be read must not pass as one whose MAC is wrong: that would hide a lax parser.
        by_mac = str(error) == "the header of an age file was changed"
        right = type(error) is FAILURES.get(vector.expect) and by_mac == (vector.expect == "HMAC failure")
        return "" if right else f"{vector.expect}, but: {error!r}"
    if vector.expect != "success":
        return f"{vector.expect}, but it opened"
    return "" if [hashlib.sha256(plain).hexdigest()] == vector.all("payload") else "other bytes came out"


def test_every_published_vector_for_x25519_ends_as_it_says(age_vectors):
    assert len(age_vectors) == 143
    ours = {name: vector for name, data in age_vectors.items() if (vector := parse(data)).is_ours()}
    complaints = {name: said for name, vector in ours.items() if (said := complaint(vector))}
    assert complaints == {}
    assert Counter(vector.expect for vector in ours.values()) == RUN


def test_the_yardstick_itself_notices(age_vectors):
    """Each vector, measured by another's expectation, is a complaint."""
    opens, foreign, broken = (parse(age_vectors[name]) for name in ("x25519", "x25519_no_match", "hmac_bad"))
    assert complaint(opens._replace(facts=[("expect", "no match"), *opens.facts]))
    assert complaint(opens._replace(facts=[("payload", "00"), *opens.facts]))
    assert complaint(foreign._replace(facts=[("expect", "header failure"), *foreign.facts]))
    assert complaint(broken._replace(facts=[("expect", "success"), *broken.facts]))
