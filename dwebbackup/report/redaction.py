"""Takes secrets out of text that is about to be seen: keys, recovery words, passwords."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

SHORTEST_RUN = 8
"""So many words of the BIP39 list in a row are taken for a recovery phrase; prose has two or three."""

WIDEST_GAP = 24
"""Characters between two words of one run: numbers and columns, but no other words."""

_MASKS = (
    (re.compile(r"(?i)\b(dwb[a-z]1)[a-z0-9]{6,}"), r"\1…"),
    (re.compile(r"(?i)\b(age-secret-key-(?:pq-)?)[a-z0-9]+"), r"\1…"),
    (re.compile(r"(\b[a-zA-Z][\w+.-]*://[^\s/:@]*:)[^\s\"]*@"), r"\1***@"),
    (re.compile(r"(?i)\b((?:ssl)?password\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&'\"]+)"), r"\1***"),
)


def redact(text: str) -> str:
    """*text* with `…` or `***` where a secret stood."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return _without_phrases(text)


def _without_phrases(text: str) -> str:
    kept, end = [], 0
    for run in _runs(text):
        if len(run) >= SHORTEST_RUN:
            kept += [text[end : run[0].start()], "[words]"]
            end = run[-1].end()
    return "".join(kept) + text[end:]


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Words of the list that follow each other closely."""
    run: list[re.Match[str]] = []
    for word in re.finditer(r"[A-Za-z]+", text):
        listed = word[0].lower() in _word_list()
        if run and (not listed or word.start() - run[-1].end() > WIDEST_GAP):
            yield run
            run = []
        if listed:
            run.append(word)
    yield run


@functools.cache
def _word_list() -> frozenset[str]:
    from mnemonic import Mnemonic  # noqa: PLC0415  # most commands have nothing to hide from

    return frozenset(Mnemonic("english").wordlist)
