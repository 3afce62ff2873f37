"""What to do with a database when the sidecar starts: go on, restore it, begin anew, or wait for somebody. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dwebbackup.ports import Condition

NO_KEY = (
    "hand in the reader key: put the line that `dwebbackup key reader {writer}` prints into DWEBBACKUP_RESTORE_KEY, "
    "or into the file that DWEBBACKUP_RESTORE_KEY_FILE names; take it out again when the database is back"
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store has for a source. All is empty where it has nothing."""

    backup: str = ""
    """The id of the newest good backup."""
    tables: int = 0
    rows: int = 0
    """In that."""
    writer: int = 0
    """Whose it is, by his number."""
    doubt: str = ""
    """Why there may be backups, and none of them can be called the newest good one."""
    hint: str = ""
    """What to do about that doubt."""
    begun: bool = False
    """Whether the owner marked the start of this writer."""


@dataclass(frozen=True, slots=True)
class Decision:
    """*go on*: with the schedule. *begin*: the same, in a project without a past."""

    action: Literal["go on", "begin", "restore", "wait"]
    sentence: str
    hint: str = ""


def decide(condition: Condition, holdings: Holdings, *, can_open: bool, has_key: bool = False) -> Decision:
    """Fail closed: without a reason to believe that there never was anything, an empty database is none to begin with.

    *can_open*: there is a key that opens the rows of that backup; *has_key*: there is one, for whatever.
    """
    if condition.state == "full":
        return Decision("go on", f"the {condition.what} holds data, and is left as it is")
    parts, piece = ("folders", "file") if condition.what == "folder" else ("tables", "row")
    what = {
        "absent": f"the {condition.what} is not there",
        "empty": f"the {condition.what} is empty",
        "rowless": f"the {condition.what} has {parts} ({', '.join(condition.objects[:3])}), and not one {piece}",
    }[condition.state]
    if holdings.doubt:
        return Decision(
            "wait", f"{what}, and what it should be restored from is not certain: {holdings.doubt}", holdings.hint
        )
    if holdings.backup:
        return _with_backups(condition, holdings, what, can_open=can_open, has_key=has_key)
    if holdings.begun:
        return Decision("begin", f"{what}, and nothing was ever backed up here: a new project begins")
    return Decision(
        "wait",
        f"{what}, and the store has no backup of it, nor the owner's mark that none was ever made",
        "for a new project run `dwebbackup init` once, with the 24 words; else see whether this is the right store",
    )


def _with_backups(condition: Condition, holdings: Holdings, what: str, *, can_open: bool, has_key: bool) -> Decision:
    piece, undo = ("file", "empty the folder") if condition.what == "folder" else ("row", "drop the database")
    if condition.state == "rowless":
        if not holdings.rows:
            return Decision("go on", f"{what}, like the newest backup {holdings.backup}")
        return Decision(
            "wait",
            f"{what}; but backup {holdings.backup} has {holdings.rows:,} {piece}s",
            f"somebody, perhaps the app's migrations, was here before the restore: {undo}, and it is "
            "restored; or `dwebbackup backup --accept`, if it is meant to be so",
        )
    if condition.state == "empty" and not (holdings.tables or holdings.rows):
        return Decision("go on", f"{what}, like the newest backup {holdings.backup}")
    if can_open:
        return Decision("restore", f"{what}: it is restored from backup {holdings.backup}")
    none = "the restore key at hand is another one's, and does not open" if has_key else "no key at hand opens"
    return Decision(
        "wait", f"{what}, and {none} the rows of backup {holdings.backup}", NO_KEY.format(writer=holdings.writer)
    )
