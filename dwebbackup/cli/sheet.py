"""The recovery sheet: the page that a user prints and keeps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from dwebbackup.keys import OwnerKey
from dwebbackup.primitives import to_bech32


def recovery_sheet(owner: OwnerKey, stores: Sequence[str], writers: Sequence[tuple[int, str]], date: str) -> str:
    """A page of plain text to print and keep: the words, where the backups are, how to get them back.

    *stores* are URLs without credentials, *writers* numbers and ids. The page is a secret.
    """
    return _SHEET.format(
        date=date,
        words=_in_columns(owner.words.split()),
        stores="\n".join(f"  {url}" for url in stores) or "  (none yet)",
        writers="\n".join(f"  {number}  {name}" for number, name in writers) or "  (none yet)",
        recipient=to_bech32("age", owner.recipient),
        store_variable=shlex.quote(" ".join(stores)) if stores else "...",
    )


def _in_columns(words: Sequence[str], columns: int = 4) -> str:
    cells = [f"{number:2}. {word:<13}" for number, word in enumerate(words, 1)]
    rows = ["".join(cells[at : at + columns]) for at in range(0, len(cells), columns)]
    return "\n".join(f"  {row.rstrip()}" for row in rows)


_SHEET = """\
dwebbackup recovery sheet, {date}

WITHOUT THESE WORDS NOTHING COMES BACK: nobody else has them, and nobody can
find them out. WHOEVER HAS THEM CAN READ EVERY BACKUP. Keep this page on paper,
in two places, away from the rented machine.

The 24 words, in the order of their numbers:

{words}

Where the backups are:

{stores}

Writers (number, id):

{writers}

Every backup is sealed to this age recipient:

  {recipient}

To get the newest backup back, on any machine: put the words into a file, give
the stores their credentials, and name a database to fill.

  export DWEBBACKUP_KEY_FILE=words.txt
  export DWEBBACKUP_STORE={store_variable}
  dwebbackup list
  dwebbackup restore latest --to postgresql://USER@HOST/DATABASE
"""
