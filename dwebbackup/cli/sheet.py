"""The recovery sheet: the page that a user prints and keeps."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from dwebbackup.errors import WrongConfiguration
from dwebbackup.keys import OwnerKey
from dwebbackup.links import ipns
from dwebbackup.primitives import to_bech32

Writers = Sequence[tuple[int, str]] | None
"""Numbers and ids; None where the store could not be asked."""


def recovery_sheet(owner: OwnerKey, stores: Sequence[str], writers: Writers, date: str) -> str:
    """A page of plain text to print and keep: the words, where the backups are, how to get them back.

    *stores* are URLs without credentials. The page is a secret.
    """
    return _SHEET.format(
        date=date,
        words=_in_columns(owner.words.split()),
        whereabouts=whereabouts(stores, writers),
        recipient=to_bech32("age", owner.recipient),
        name=_name(owner, writers),
        store_variable=shlex.quote(" ".join(stores)) if stores else "...",
    )


def whereabouts(stores: Sequence[str], writers: Writers) -> str:
    """The part of the sheet that is no secret."""
    none = "  (none yet)" if writers is not None else "  (not known: the store could not be asked)"
    return _WHEREABOUTS.format(
        stores="\n".join(f"  {url}" for url in stores) or "  (none yet)",
        writers="\n".join(f"  {number}  {name}" for number, name in writers or ()) or none,
    )


def write_sheet(path: str, text: str) -> None:
    """Into a new file that only its owner can read. Raises `WrongConfiguration`."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise WrongConfiguration(f"{path} is there already", "it may be another key's sheet; name a new file") from None
    except OSError as error:
        raise WrongConfiguration(f"cannot write {path}: {error.strerror}") from None
    try:
        with open(descriptor, "w") as file:
            file.write(text)
    except OSError as error:  # with a part of the words it would look like a sheet
        os.unlink(path)
        raise WrongConfiguration(f"cannot write {path}: {error.strerror}") from None


def _name(owner: OwnerKey, writers: Writers) -> str:
    """Under which IPFS has the newest backup, if any store is on it."""
    newest = max((number for number, _ in writers or ()), default=1)
    return ipns.name_of(owner.writer(newest).head_keys.ipns).text


def _in_columns(words: Sequence[str], columns: int = 4) -> str:
    cells = [f"{number:2}. {word:<13}" for number, word in enumerate(words, 1)]
    rows = ["".join(cells[at : at + columns]) for at in range(0, len(cells), columns)]
    return "\n".join(f"  {row.rstrip()}" for row in rows)


_WHEREABOUTS = """\
Where the backups are:

{stores}

Writers (number, id):

{writers}"""

_SHEET = """\
dwebbackup recovery sheet, {date}

WITHOUT THESE WORDS NOTHING COMES BACK: nobody else has them, and nobody can
find them out. WHOEVER HAS THEM CAN READ EVERY BACKUP. Keep this page on paper,
in two places, away from the rented machine.

The 24 words, in the order of their numbers:

{words}

{whereabouts}

Every backup is sealed to this age recipient:

  {recipient}

To get the newest backup back, on any machine: put the words into a file, give
the stores their credentials, and name a database to fill.

  export DWEBBACKUP_KEY_FILE=words.txt
  export DWEBBACKUP_STORE={store_variable}
  dwebbackup list
  dwebbackup restore latest --to postgresql://USER@HOST/DATABASE

Without any of the stores: what was kept on IPFS is looked for there, by the
words alone, when no DWEBBACKUP_STORE is set. Its name there is

  ipns://{name}
"""
