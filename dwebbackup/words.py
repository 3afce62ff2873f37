"""The 24 words that an owner keeps: read as people write them down, misspelt ones named (BIP39, English)."""

from __future__ import annotations

import functools
import re
import unicodedata
from difflib import get_close_matches

from mnemonic import Mnemonic

from dwebbackup.errors import WrongConfiguration

COUNT = 24

KEY_HINT = "A key is 24 words, or one line that begins with dwbw1 (writer) or dwbr1 (reader)."


@functools.cache
def word_list() -> Mnemonic:
    return Mnemonic("english")


def split_words(text: str) -> list[str]:
    """The words of *text*, lower-case; if they carry the numbers 1 to 24, in the order of these.

    Numbers decide because a sheet in columns, copied line by line, has its words in another order.
    NFKC takes apart the ligatures of printed pages ("ﬁ" in "find"), which no word list has.
    """
    words: list[str] = []
    by_number: dict[str, str] = {}
    number = ""
    for token in re.findall(r"[0-9]+|[^\W\d_]\w*", unicodedata.normalize("NFKC", text).lower()):
        if token[0].isdigit():
            number = token.lstrip("0")
        else:
            words.append(token)
            by_number[number] = token
    order = [str(n) for n in range(1, COUNT + 1)]
    if len(words) == COUNT and by_number.keys() == set(order):
        return [by_number[n] for n in order]
    return words


def entropy_of(words: list[str]) -> bytes:
    """The 32 bytes that *words* stand for (BIP39). Raises `WrongConfiguration`, which says what is wrong."""
    unknown = [place for place, word in enumerate(words, 1) if word not in word_list().wordlist]
    if len(words) != COUNT:
        raise _wrong_count(len(words), unknown)
    if unknown:
        raise _misspelt(words, unknown)
    try:
        return bytes(word_list().to_entropy(words))
    except ValueError:
        raise WrongConfiguration(
            "the recovery phrase is not right: every word exists, but their checksum does not hold",
            "One word is another than was written down, or two changed places.",
        ) from None


def _wrong_count(count: int, unknown: list[int]) -> WrongConfiguration:
    """Words are not named here: with another count this may be no phrase at all, but some other secret."""
    place = f" The first that is not in the list of words is number {unknown[0]}." if unknown else ""
    return WrongConfiguration(f"a recovery phrase has {COUNT} words; here are {count}", KEY_HINT + place)


def _misspelt(words: list[str], unknown: list[int]) -> WrongConfiguration:
    place = unknown[0]
    word = words[place - 1]
    close = get_close_matches(word, word_list().wordlist)
    hint = f"The closest are: {', '.join(close)}." if close else "No word of the list is close to it."
    if others := ", ".join(str(place) for place in unknown[1:]):
        hint += f" Not in the list either: number {others}."
    return WrongConfiguration(f"word {place} of the recovery phrase, {word!r}, is not in the list", hint)
