"""Bytes as text and back, strictly: base32, base36, base58 and base64url, without padding, as links are written."""

from __future__ import annotations

from dataclasses import dataclass

from dwebbackup.errors import WrongConfiguration

LONGEST = 400
"""Characters; no link comes near, and the work of base36 and base58 grows with the square."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The digits of one base. Each text stands for one sequence of bytes, and has no second form."""

    name: str
    characters: str
    bits: int = 0
    """That a character holds; 0 where all bytes are one number, and a zero byte in front is a zero digit."""

    def encode(self, data: bytes) -> str:
        value, digits = int.from_bytes(data, "big"), []
        if self.bits:
            number = -(-len(data) * 8 // self.bits)
            value <<= number * self.bits - len(data) * 8
            return "".join(self.characters[value >> at * self.bits & self._mask] for at in reversed(range(number)))
        while value:
            value, digit = divmod(value, len(self.characters))
            digits.append(self.characters[digit])
        zeros = len(data) - len(data.lstrip(b"\0"))
        return self.characters[0] * zeros + "".join(reversed(digits))

    def decode(self, text: str, prefix: str = "") -> bytes:
        """The bytes that `encode` writes as *text*.

        Raises `WrongConfiguration`, with the place of what is wrong, counted from the beginning of *prefix*.
        """
        value = self._value(text, len(prefix) + 1)
        if not self.bits:
            zeros = len(text) - len(text.lstrip(self.characters[0]))
            return bytes(zeros) + value.to_bytes(-(-value.bit_length() // 8), "big")
        size, unused = divmod(len(text) * self.bits, 8)
        if unused >= self.bits:
            raise WrongConfiguration(f"characters are missing, or too many: no bytes have so many in {self.name}")
        if value & (1 << unused) - 1:
            raise WrongConfiguration(f"the last character, {text[-1]!r}, is wrong: it stands for bits beyond the end")
        return (value >> unused).to_bytes(size, "big")

    @property
    def _mask(self) -> int:
        return (1 << self.bits) - 1

    def _value(self, text: str, first: int) -> int:
        if len(text) > LONGEST:
            raise WrongConfiguration(f"{len(text)} characters are too many for a link")
        value = 0
        for place, character in enumerate(text, first):
            digit = self.characters.find(character)
            if digit < 0:
                raise WrongConfiguration(f"character {place}, {character!r}, is none of {self.name}")
            value = value * len(self.characters) + digit
        return value


BASE32 = Alphabet("base32", "abcdefghijklmnopqrstuvwxyz234567", bits=5)
BASE32HEX = Alphabet("base32hex", "0123456789abcdefghijklmnopqrstuv", bits=5)
BASE36 = Alphabet("base36", "0123456789abcdefghijklmnopqrstuvwxyz")
BASE58 = Alphabet("base58", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
BASE64URL = Alphabet("base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", bits=6)
