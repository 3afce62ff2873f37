"""What keys are made of, and written as: HKDF, X25519, Ed25519 signatures under a label, Bech32."""

from __future__ import annotations

from bech32 import CHARSET, bech32_encode, bech32_verify_checksum, convertbits
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dwebbackup.errors import WrongConfiguration


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def x25519_public(secret: bytes) -> bytes:
    """The public half of an X25519 secret (RFC 7748), 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def ed25519_public(seed: bytes) -> bytes:
    """The key that verifies what *seed* signs (RFC 8032), 32 bytes each."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, label: bytes, data: bytes) -> bytes:
    """An Ed25519 signature, 64 bytes, over *label* and *data*.

    The label says what kind of thing is signed, and ends with a zero byte that stands nowhere else in it:
    so a signature for one kind is never one for another.
    """
    return Ed25519PrivateKey.from_private_bytes(seed).sign(label + data)


def verify(public: bytes, label: bytes, data: bytes, signature: bytes) -> bool:
    """Whether `sign` made *signature* with the seed of *public*. Malformed keys and signatures are a no."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, label + data)
    except (InvalidSignature, ValueError):
        return False
    return True


def to_bech32(prefix: str, payload: bytes) -> str:
    """Lower-case Bech32 (BIP173, without its limit of 90 characters, as age uses it)."""
    values = convertbits(payload, 8, 5)
    assert values is not None  # only values above 255 have no answer
    return bech32_encode(prefix, values)


def from_bech32(text: str) -> tuple[str, bytes]:
    """Prefix (lower case) and payload of Bech32 text, which is wholly lower or wholly upper case.

    Raises `WrongConfiguration`, without the text, which may be a secret. `bech32_decode` of the package
    is not used, because BIP173 lets it refuse more than 90 characters.
    """
    lower = text.lower()
    prefix, _, data = lower.rpartition("1")
    values = [CHARSET.find(character) for character in data]
    intact = (
        text.isascii() and text in (lower, text.upper()) and -1 not in values and bech32_verify_checksum(prefix, values)
    )
    payload = convertbits(values[:-6], 5, 8, pad=False) if intact else None  # six are the checksum
    if payload is None:
        raise damaged()
    return prefix, bytes(payload)


def damaged() -> WrongConfiguration:
    """What to raise for a key line that is not whole."""
    return WrongConfiguration(
        "this key is damaged: its checksum does not hold",
        "A character of it was changed or lost, or it was cut off: copy it again, whole.",
    )
