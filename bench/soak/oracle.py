"""The end: is every backup there that was reported as good, and is each exactly the database of its moment?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from bench.soak.commands import CommandFailed, dwebbackup
from bench.soak.ledger import State, examine
from bench.soak.tally import Tally, say
from bench.soak.writers import Chronicle
from daemon.sidecar import OWNER
from dwebbackup import clock
from dwebbackup.scratch.postgres import ScratchPostgres


def judge(
    folder: Path,
    place: Mapping[str, str],
    chronicles: Mapping[str, Chronicle],
    emptied: set[str],
    laboratory: ScratchPostgres,
    tally: Tally,
) -> None:
    """Whatever is wrong is noted in *tally*. *laboratory*: a server for scratch databases."""
    settings = dict(place) | {"KEY": OWNER.words}
    try:
        verified = dwebbackup(folder, "verify", "--data", **settings)
        if verified["status"]:
            tally.fault(f"verify --data: {verified['findings']}")
    except CommandFailed as error:
        tally.fault(str(error))
    listed = {each["backup"]: each for each in dwebbackup(folder, "list", **settings)["backups"]}
    for lost in sorted(set(tally.reported) - tally.pruned - set(listed)):
        tally.fault(f"backup {lost} was reported as good, is not pruned, and is gone")
    good = [each for each in listed.values() if _is_good(each, emptied, tally)]
    say(f"{tally.elapsed():5.0f} s  {len(good)} backups are restored and examined")

    def check(each: dict[str, Any]) -> None:
        for what in _wrong(each, folder, settings, laboratory, chronicles):
            tally.fault(f"backup {each['backup']}: {what}")
        tally.restores += 1

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(check, good):
            pass


def _is_good(each: dict[str, Any], emptied: set[str], tally: Tally) -> bool:
    of = each["tallies"][0]
    if of["suspect"] and of["identity"] not in emptied:
        tally.fault(f"backup {each['backup']} is suspect: {of['suspect']}")
    if not of["suspect"] and of["identity"] in emptied:
        tally.fault(f"backup {each['backup']} is of an empty database, and passes for good")
    return not of["suspect"]


def _wrong(
    each: dict[str, Any],
    folder: Path,
    settings: dict[str, str],
    laboratory: ScratchPostgres,
    chronicles: Mapping[str, Chronicle],
) -> Sequence[str]:
    name = f"restored_{each['backup'].replace('-', '_')}"
    try:
        dwebbackup(folder, "restore", each["backup"], "--to", laboratory.uri(name), **settings)
        state = examine(laboratory.uri(name))
        laboratory.psql(f"DROP DATABASE {name} WITH (FORCE)")
    except (CommandFailed, psycopg.Error) as error:
        return [str(error)]
    return [*(f"it does not hold that {rule}" for rule in state.broken), *_untimely(each, state, chronicles)]


def _untimely(each: dict[str, Any], state: State, chronicles: Mapping[str, Chronicle]) -> list[str]:
    """Is it the state of the database at the moment of the snapshot? Times in a manifest are whole seconds."""
    of = each["tallies"][0]
    chronicle = chronicles.get(of["identity"])
    if not chronicle:
        return [f"it is of a database that never was: {of['identity']}"]
    least = chronicle.least(clock.from_iso(each["started"]))
    most = chronicle.most(clock.from_iso(of["snapshot"]) + 1)
    wrong = []
    if not least <= state.n <= most:
        wrong.append(f"it ends with transaction {state.n}, and not with one from {least} to {most}")
    if state.checksum not in chronicle.checksums(state.n):
        wrong.append(f"its transaction {state.n} is not the one that there was")
    return wrong
