"""Looks at all that a backup and a restore will need, and says of each thing how it is; nothing is changed by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dwebbackup.checking import ConfiguredStore, check_store
from dwebbackup.errors import (
    Damaged,
    DatabaseRefused,
    DwebbackupError,
    Incomplete,
    KeyForbids,
    NoSuchBackup,
    StoreUnreachable,
    ToolMissing,
    WrongConfiguration,
)
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey
from dwebbackup.ports import Finding, Source
from dwebbackup.probe import Times

_GRAVEST_FIRST: tuple[type[DwebbackupError], ...] = (
    Damaged,
    StoreUnreachable,
    DatabaseRefused,
    ToolMissing,
    KeyForbids,
    NoSuchBackup,
    WrongConfiguration,
    DwebbackupError,
)


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything configured that can be used; what cannot has been told already."""

    key: Key | None
    stores: tuple[ConfiguredStore, ...]
    sources: tuple[Source, ...]
    rented: str = ""
    """By what this machine looks rented; empty when it does not."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, and which writers (number, id) the key opens."""

    findings: tuple[Finding, ...]
    writers: tuple[tuple[int, str], ...] | None
    """None where that could not be asked."""


def examine(patient: Patient, times: Times | None = None) -> Diagnosis:
    """Look at everything. The only thing that is written is a probe in each store, which is removed again."""
    findings = list(_key(patient))
    writers: dict[int, str] = {}
    asked = patient.key is not None
    bare = []
    for each in patient.stores:
        checked = check_store(each, patient.key, times or Times())
        found = checked.findings if each.required else map(_milder, checked.findings)
        findings += _named(f"store {each.store.name}", found)
        writers.update((opened.number, opened.catalog.writer) for opened in checked.opened)
        asked = asked and checked.asked
        if checked.asked and not checked.opened and all(found.level != "failure" for found in checked.findings):
            bare.append(each.store.name)
    findings += _copies(patient)
    if writers:
        findings += [_without_any(name) for name in bare]
    for source in patient.sources:
        findings += _named(f"source {source.name}", _source(source))
    return Diagnosis(tuple(findings), tuple(sorted(writers.items())) if asked or writers else None)


def status_of(findings: Iterable[Finding]) -> int:
    """The exit status: of the gravest failure, or that something is suspect, or that all is well."""
    findings = tuple(findings)
    failures = {finding.status for finding in findings if finding.level == "failure"}
    if failures:
        known = (kind.exit_status for kind in _GRAVEST_FIRST if kind.exit_status in failures)
        return next(known, DwebbackupError.exit_status)
    return Incomplete.exit_status if any(finding.level == "warning" for finding in findings) else 0


def _named(what: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    return (replace(finding, name=f"{what}: {finding.name}") for finding in findings)


def _milder(finding: Finding) -> Finding:
    """Of a store that is not required: backups count without it."""
    return replace(finding, level="warning") if finding.level == "failure" else finding


def _key(patient: Patient) -> Iterator[Finding]:
    key = patient.key
    if isinstance(key, OwnerKey) and patient.rented:
        yield Finding(
            "key",
            "warning",
            f"the 24 words are on what looks like a rented machine ({patient.rented} is set)",
            "give it a writer key, which cannot read what it wrote: `dwebbackup key writer`, on a machine of yours",
        )
    elif isinstance(key, OwnerKey):
        yield Finding("key", "ok", "the 24 words, which can do everything")
    elif isinstance(key, WriterKey):
        yield Finding("key", "ok", f"a writer key: adds backups as writer {key.number}, and reads no row of them")
    elif isinstance(key, ReaderKey):
        yield Finding("key", "ok", f"a reader key: restores the backups of writer {key.number}")


def _copies(patient: Patient) -> Iterator[Finding]:
    if len(patient.stores) == 1:
        yield Finding(
            "copies",
            "warning" if patient.rented else "notice",
            "all backups lie in one store: whoever gets hold of it, or of its access key, can delete them",
            "keep a copy elsewhere, under credentials that no rented machine has: `dwebbackup repair` makes one",
        )


def _without_any(store: str) -> Finding:
    return Finding(
        f"store {store}: copies",
        "warning",
        "it has no backup of this key, though another store has: it is new, or was wiped, or its disk is not mounted",
        "`dwebbackup repair` copies them all into it; a backup only what it needs itself",
    )


def _source(source: Source) -> Iterator[Finding]:
    try:
        yield from source.check()
    except DwebbackupError as error:
        yield Finding.of("server", error)
