r"""age files: seal bytes to public keys, and open them again with the secret ones.

Standard age v1, as https://age-encryption.org/v1 (C2SP `age.md`) has it, with X25519 recipients and whole
objects in memory. A sealed object is

    age-encryption.org/v1\n
    -> X25519 <share>\n<wrapped>\n   98 bytes a recipient: an ephemeral public key, the wrapped file key
    --- <mac>\n                      48 bytes: HMAC-SHA256 over all above and the "---"
    nonce                            16 bytes
    chunk, chunk, …                  64 KiB of plain bytes and a tag of 16 each; the last may be shorter

<…> is 32 bytes as 43 characters of base64 without padding. Every key is used once: the file key is 16 random
bytes, and what MACs the header and what encrypts the chunks are derived from it by HKDF-SHA256.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dwebbackup.errors import Damaged, KeyForbids, WrongConfiguration
from dwebbackup.primitives import from_bech32, hkdf, to_bech32, x25519_public

_VERSION = b"age-encryption.org/v1\n"
_CHUNK = 64 * 1024
_TAG = 16
_SEALED_CHUNK = _CHUNK + _TAG
_NONCE = 16
_FILE_KEY = 16
_WRAPPED = _FILE_KEY + _TAG
_ONCE = bytes(12)
"""The nonce where a key encrypts a single message."""

# The ABNF of the specification, as it stands there.
_STANZA = re.compile(rb"-> ([!-~]+(?: [!-~]+)*)\n((?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63})\n")
_END = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")


# --- sizes ---


def header_size(recipients: int) -> int:
    """Bytes from the version line to the end of the MAC line; the payload, nonce first, comes after them."""
    return len(_VERSION) + recipients * 98 + 48


def sealed_size(plain: int, recipients: int) -> int:
    """Bytes that `seal` makes of *plain* bytes."""
    return header_size(recipients) + _payload_size(plain)


def capacity(sealed: int, recipients: int) -> int:
    """The most plain bytes whose sealed form has at most *sealed* bytes.

    Raises ValueError when not even the empty form has room.
    """
    room = sealed - header_size(recipients) - _NONCE
    if room < _TAG:
        raise ValueError(f"{sealed} bytes have no room for an age header of {recipients} recipients")
    return _plain_size(room)


def _payload_size(plain: int) -> int:
    return _NONCE + plain + _TAG * _chunk_count(plain)


def _chunk_count(plain: int) -> int:
    """Nothing at all is one empty chunk; else the last chunk is never empty."""
    return max(1, -(-plain // _CHUNK))


def _plain_size(chunks: int) -> int:
    """The most plain bytes that fit *chunks* bytes of sealed chunks."""
    full, rest = divmod(chunks, _SEALED_CHUNK)
    return full * _CHUNK + max(0, rest - _TAG)


# --- seal and unseal ---


def seal(plain: bytes | bytearray | memoryview, recipients: Sequence[bytes]) -> bytes:
    """Seal *plain* so that the secret key of any recipient opens it.

    Recipients are raw X25519 public keys. Raises `WrongConfiguration` for none, or an unusable one.
    """
    if not recipients:
        raise WrongConfiguration("there is nobody to seal to", "Name at least one age recipient.")
    file_key, nonce = os.urandom(_FILE_KEY), os.urandom(_NONCE)
    head = _header(file_key, recipients) + nonce
    cipher = _payload_cipher(file_key, nonce)
    view = memoryview(plain).cast("B")
    # The only memory taken, filled in place: BytesIO hands out its bytes uncopied once no view of them is left.
    sealed = BytesIO(bytes(sealed_size(len(view), len(recipients))))
    with sealed.getbuffer() as out:
        out[: len(head)] = head
        _encrypt(cipher, view, out[len(head) :])
    return sealed.getvalue()


def unseal(sealed: bytes, identities: Sequence[bytes]) -> bytes:
    """The inverse of `seal`; nothing is given back before all of it is authenticated.

    Identities are raw X25519 secrets. Raises `KeyForbids` when the header is well-formed and none of them
    opens a stanza of it (one whose bytes were changed looks like one for somebody else), `Damaged` for
    everything else.
    """
    header = _parse(sealed)
    file_key = _unwrap(_x25519_stanzas(header.stanzas), identities)
    if not hmac.compare_digest(_mac(file_key, header.authenticated), header.mac):
        raise Damaged("the header of an age file was changed")
    return _open_payload(file_key, memoryview(sealed)[header.size :])


def _open_payload(file_key: bytes, payload: memoryview) -> bytes:
    nonce, chunks = bytes(payload[:_NONCE]), payload[_NONCE:]
    size = _plain_size(len(chunks))
    if len(payload) != _payload_size(size):
        raise Damaged("an age file does not end where a chunk may end")
    cipher = _payload_cipher(file_key, nonce)
    plain = BytesIO(bytes(size))
    with plain.getbuffer() as out:
        _decrypt(cipher, out, chunks)
    return plain.getvalue()


def _encrypt(cipher: ChaCha20Poly1305, plain: memoryview, sealed: memoryview) -> None:
    for nonce, plain_chunk, sealed_chunk in _chunks(plain, sealed):
        cipher.encrypt_into(nonce, plain_chunk, None, sealed_chunk)


def _decrypt(cipher: ChaCha20Poly1305, plain: memoryview, sealed: memoryview) -> None:
    try:
        for nonce, plain_chunk, sealed_chunk in _chunks(plain, sealed):
            cipher.decrypt_into(nonce, sealed_chunk, None, plain_chunk)
    except InvalidTag:
        raise Damaged("a chunk of an age file was changed, moved or cut off") from None


def _chunks(plain: memoryview, sealed: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Every chunk's nonce, its place in *plain* and its place in *sealed*.

    The nonce is the chunk's number, 11 bytes big-endian, and a byte that is 1 for the last chunk: so none
    can be moved, and none left out at the end.
    """
    count = _chunk_count(len(plain))
    for number in range(count):
        nonce = number.to_bytes(11, "big") + bytes([number == count - 1])
        at, sealed_at = number * _CHUNK, number * _SEALED_CHUNK
        yield nonce, plain[at : at + _CHUNK], sealed[sealed_at : sealed_at + _SEALED_CHUNK]


def _payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(hkdf(file_key, nonce, b"payload"))


# --- the header, written ---


def _header(file_key: bytes, recipients: Sequence[bytes]) -> bytes:
    stanzas = b"".join(_wrap(file_key, recipient) for recipient in recipients)
    authenticated = _VERSION + stanzas + b"---"
    return authenticated + b" " + _to_base64(_mac(file_key, authenticated)) + b"\n"


def _mac(file_key: bytes, authenticated: bytes) -> bytes:
    return hmac.digest(hkdf(file_key, b"", b"header"), authenticated, "sha256")


def _wrap(file_key: bytes, recipient: bytes) -> bytes:
    """The stanza that gives *recipient* the file key."""
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError:  # not 32 bytes, or a point of low order, which shares nothing secret
        raise WrongConfiguration("an age recipient is not a usable public key") from None
    wrapped = ChaCha20Poly1305(_wrap_key(shared, share, recipient)).encrypt(_ONCE, file_key, None)
    return b"-> X25519 " + _to_base64(share) + b"\n" + _to_base64(wrapped) + b"\n"


def _wrap_key(shared: bytes, share: bytes, recipient: bytes) -> bytes:
    return hkdf(shared, share + recipient, b"age-encryption.org/v1/X25519")


def _to_base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


# --- the header, read ---


class _Stanza(NamedTuple):
    arguments: list[bytes]
    body: bytes


class _Header(NamedTuple):
    stanzas: list[_Stanza]
    authenticated: bytes
    mac: bytes
    size: int


def _parse(sealed: bytes) -> _Header:
    """The header, of which nothing is believed yet. Raises `Damaged` for what the grammar does not allow."""
    if not sealed.startswith(_VERSION):
        raise Damaged("this is not an age v1 file")
    stanzas, at = [], len(_VERSION)
    while stanza := _STANZA.match(sealed, at):
        arguments, body = stanza.groups()
        stanzas.append(_Stanza(arguments.split(b" "), _from_base64(body.replace(b"\n", b""))))
        at = stanza.end()
    end = _END.match(sealed, at)
    if not stanzas or not end:
        raise Damaged("the header of an age file is malformed")
    return _Header(stanzas, sealed[: at + len(b"---")], _from_base64(end[1]), end.end())


def _x25519_stanzas(stanzas: Sequence[_Stanza]) -> list[tuple[bytes, bytes]]:
    """Share and wrapped file key of every X25519 stanza; those of other kinds are not for us.

    Raises `Damaged` for one of another shape. That the wrapped key has its one length is looked at before
    anything is decrypted, since a longer one could be made to open with several keys ("partitioning oracle").
    """
    ours = [stanza for stanza in stanzas if stanza.arguments[0] == b"X25519"]
    if any(len(stanza.arguments) != 2 or len(stanza.body) != _WRAPPED for stanza in ours):
        raise Damaged("an X25519 stanza of an age file is malformed")
    shares = [(_from_base64(stanza.arguments[1]), stanza.body) for stanza in ours]
    if any(len(share) != 32 for share, _ in shares):
        raise Damaged("the share of an X25519 stanza has not 32 bytes")
    return shares


def _unwrap(stanzas: Sequence[tuple[bytes, bytes]], identities: Sequence[bytes]) -> bytes:
    """The file key, out of the first stanza that one of *identities* opens."""
    for secret in identities:
        identity, recipient = X25519PrivateKey.from_private_bytes(secret), x25519_public(secret)
        for share, wrapped in stanzas:
            try:
                shared = identity.exchange(X25519PublicKey.from_public_bytes(share))
            except ValueError:  # a shared secret of zeros, which anybody knows
                raise Damaged("an age file has a share of low order") from None
            try:
                return ChaCha20Poly1305(_wrap_key(shared, share, recipient)).decrypt(_ONCE, wrapped, None)
            except InvalidTag:
                continue
    raise KeyForbids("this key does not open it: it is sealed to others")


def _from_base64(text: bytes) -> bytes:
    """Raises `Damaged` for all but the one way to write these bytes: no file has two forms."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        data = b""
    if _to_base64(data) != text:
        raise Damaged("the header of an age file has base64 that no age program writes")
    return data


# --- keys as age writes them ---


def public_key(secret: bytes) -> bytes:
    """The recipient that belongs to an identity, raw, 32 bytes each."""
    return x25519_public(secret)


def recipient_text(public: bytes) -> str:
    """`age1…`, 62 characters, as `age -r` takes it."""
    return to_bech32("age", public)


def recipient_from_text(text: str) -> bytes:
    """The inverse of `recipient_text`. Raises `WrongConfiguration`, also for recipients of other kinds."""
    return _key_from_text("age", text, "an age recipient", "It begins with age1 and has 62 characters.")


def identity_text(secret: bytes) -> str:
    """`AGE-SECRET-KEY-1…`, 74 characters, as a file for `age -d -i` holds it."""
    return to_bech32("age-secret-key-", secret).upper()


def identity_from_text(text: str) -> bytes:
    """The inverse of `identity_text`. Raises `WrongConfiguration`, which never shows the text."""
    return _key_from_text(
        "age-secret-key-", text, "an age identity", "It begins with AGE-SECRET-KEY-1 and has 74 characters."
    )


def _key_from_text(prefix: str, text: str, what: str, hint: str) -> bytes:
    found, key = from_bech32(text.strip())
    if found != prefix or len(key) != 32:
        raise WrongConfiguration(f"this is not {what} of the X25519 kind", hint)
    return key


def fingerprint(recipient: bytes) -> str:
    """How indexes name a recipient: the first 16 hex digits of the SHA-256 of its public key."""
    return hashlib.sha256(recipient).hexdigest()[:16]
