"""Takes secrets out of text that is about to be seen: keys, recovery words, passwords."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from urllib.parse import quote

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


_hidden: dict[str, None] = {}
"""What `hide` was told, in every way in which it may be written."""

_hidden_pattern: re.Pattern[str] | None = None


def hide(secret: str) -> None:
    """From now on `redact` takes out this very text, whatever it looks like; also as a URL or as JSON writes it."""
    global _hidden_pattern  # noqa: PLW0603  # what is secret is so for the whole process
    if not secret:
        return
    _hidden.update(dict.fromkeys((secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])))
    longest_first = sorted(_hidden.copy(), key=len, reverse=True)
    _hidden_pattern = re.compile("|".join(map(re.escape, longest_first)))


def redact(text: str) -> str:
    """*text* with `…` or `***` where a secret stood."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    if _hidden_pattern is not None:  # after the masks: somebody's secret is the word "password", which they look for
        text = _hidden_pattern.sub("***", text)
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
