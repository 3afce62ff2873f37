"""Asks for two of the new words, so that the user has seen that they stand on paper as they should."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

from dwebbackup.errors import Incomplete

ASKED = 2
TRIES = 3


def ask_back(words: Sequence[str]) -> None:
    """Have two of the *words*, drawn at random, typed in. Raises `Incomplete` when one is wrong three times."""
    print(f"\nTo see that they are written down well, type {ASKED} of them from the paper.", file=sys.stderr)
    for number in sorted(random.SystemRandom().sample(range(1, len(words) + 1), ASKED)):
        if not _knows(number, words[number - 1]):
            raise Incomplete(
                f"word {number} is another one than was typed",
                "correct what is on the paper; or throw it away, and make new words with `dwebbackup key new`: "
                "nothing was backed up with these yet",
            )


def _knows(number: int, word: str) -> bool:
    for left in reversed(range(TRIES)):
        print(f"word {number}: ", end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline()
        if typed.strip().lower() == word:
            return True
        if not typed:  # the end of the input: nobody is there to ask again
            return False
        if left:
            print(f"That is not word {number}; look again.", file=sys.stderr)
    return False
