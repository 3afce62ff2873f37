"""What `doctor` says of one store: does it do what it must, does the key fit, and how is the newest backup?"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dwebbackup import clock, lineage
from dwebbackup.access import PROBES, Opened, below, has_begun, holds_anything, open_store
from dwebbackup.catalog import GENESIS, Backup, Newest, snapshot_of
from dwebbackup.errors import Damaged, DwebbackupError, KeyForbids, NoSuchBackup, ObjectMissing, ToolMissing
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey
from dwebbackup.manifest import ManifestRef
from dwebbackup.ports import Finding, Quiet, Store
from dwebbackup.probe import Times, probe, probe_by_link
from dwebbackup.report.wording import count, duration
from dwebbackup.verify import verify

NEWEST = "newest backup"
SUSPECT = "suspect backups"

ACCEPT = "look into it; if it is the database that was meant, `dwebbackup backup --accept` says so"


@dataclass(frozen=True, slots=True)
class ConfiguredStore:
    """A store, and what only its kind can tell."""

    store: Store
    begun: bool = True
    """False where it can be seen that nobody wrote there yet."""
    dialect: Callable[[str], Sequence[Finding]] | None = None
    """What its server does that others do not; tried out with an object of the name that is given."""
    required: bool = True
    """Whether a backup counts only when this one has everything."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a store, and which writers the key opens there."""

    findings: tuple[Finding, ...]
    opened: tuple[Opened, ...] = ()
    asked: bool = True
    """False where the store did not say which those are."""


def check_store(each: ConfiguredStore, key: Key | None, times: Times) -> Checked:
    """Look at one store. Nothing is left in it that can be taken away, and where there is none, none is made."""
    if not each.begun:
        hint = "the first backup begins it; should there be backups already: is its disk mounted, and the path right?"
        return Checked((Finding("begun", "warning", f"there is no store in {each.store.url} yet", hint),))
    if not each.store.traits.lists:
        return Checked(tuple(probe_by_link(each.store, times)))
    findings: list[Finding] = []
    opened: list[Opened] = []
    asked = False
    try:
        next(iter(each.store.list("w/")), None)
        findings.append(Finding("reached", "ok", f"{each.store.url} answers"))
        if key is not None:
            opened = _opened(key, each.store, findings)
            asked = True
            findings += _newest(opened, times.now())
            if not isinstance(key, ReaderKey):
                findings += _tried_out(each, _prefix(key, opened), times)
    except DwebbackupError as error:
        findings.append(Finding.of("reached", error))
    return Checked(tuple(findings), tuple(opened), asked)


def _prefix(key: OwnerKey | WriterKey, opened: Sequence[Opened]) -> str:
    """Whose part of the store the next backup goes to."""
    if isinstance(key, WriterKey):
        return key.id
    return opened[-1].catalog.writer if opened else key.writer(1).id


def _tried_out(each: ConfiguredStore, writer: str, times: Times) -> list[Finding]:
    tried = probe(below(each.store, writer), times)
    if each.dialect and not any(finding.level == "failure" for finding in tried):
        tried += each.dialect(f"w/{writer}/{PROBES}{secrets.token_hex(8)}")
    return tried


def _opened(key: Key, store: Store, findings: list[Finding]) -> list[Opened]:
    try:
        opened = open_store(key, store)
    except NoSuchBackup as error:
        findings.append(_none_opened(key, store, error))
        return []
    names = ", ".join(f"{writer.number} ({writer.catalog.writer})" for writer in opened)
    findings.append(Finding("catalog", "ok", f"the key opens writer {names}"))
    return opened


def _newest(opened: Sequence[Opened], now: float) -> list[Finding]:
    """Of the highest writer that has a backup."""
    findings: list[Finding] = []
    for writer in reversed(opened):
        findings += _backups(writer, now)
        if any(finding.name == NEWEST for finding in findings):
            break
    return findings


def _none_opened(key: Key, store: Store, error: NoSuchBackup) -> Finding:
    """A new writer has written nothing yet; words or a reader key that open nothing of much are the wrong ones."""
    if has_begun(key, store) or not holds_anything(store):
        return Finding("catalog", "notice", str(error), "`dwebbackup backup` makes the first")
    if isinstance(key, WriterKey):
        hint = "so it is with a new writer; if it has made backups already, this is another key than it was"
        return Finding("catalog", "warning", str(error), hint)
    return Finding.of("catalog", error)


def _backups(opened: Opened, now: float) -> Iterator[Finding]:
    """The writer's newest, and whether it is whole."""
    try:
        newest = opened.catalog.completed(opened.catalog.newest())
    except (Damaged, KeyForbids, ToolMissing) as error:
        yield Finding.of(NEWEST, error)
        return
    yield from (Finding("manifests", "warning", doubt) for doubt in newest.doubts)
    if not newest.tips:
        yield _no_backup(opened, len(newest.refs))
        return
    if len(newest.tips) > 1:
        names = ", ".join(tip.ref.id for tip in newest.tips)
        yield Finding("manifests", "warning", f"two machines wrote at once, so that none is the newest: {names}")
    yield from _good(opened, newest, now)


def _good(opened: Opened, newest: Newest, now: float) -> Iterator[Finding]:
    """The newest good backup of each source, and what came after it and is suspect."""
    chosen: dict[ManifestRef, list[str]] = {}
    for name in lineage.sources(newest.history):
        try:
            choice = lineage.newest(newest.history, name)
        except (Damaged, NoSuchBackup) as error:
            yield Finding.of(NEWEST, error)
            continue
        chosen.setdefault(choice.entry.ref, []).append(name)
        yield from (Finding(SUSPECT, "warning", doubt, ACCEPT) for doubt in choice.doubts)
    read = {tip.ref: tip for tip in newest.tips}
    for ref, names in chosen.items():
        try:
            backup = read.get(ref) or opened.catalog.read(ref)
        except (Damaged, KeyForbids, ToolMissing) as error:
            yield Finding.of(NEWEST, error)
        else:
            yield _age(backup, names, now)
            yield from _whole(opened, backup)


def _no_backup(opened: Opened, listed: int) -> Finding:
    if listed:
        told = f"none of the {listed} manifests of writer {opened.number} can be read"
        return Finding(NEWEST, "failure", told, "look into another store", Damaged.exit_status)
    begun = "its start is marked, and there" if _is_marked(opened) else "there"
    told = f"writer {opened.number} has no backup yet: {begun} is no manifest"
    return Finding("backups", "notice", told, "`dwebbackup backup` makes the first")


def _is_marked(opened: Opened) -> bool:
    try:
        opened.catalog.store.head(GENESIS)
    except ObjectMissing:
        return False
    return True


def _age(backup: Backup, names: Sequence[str], now: float) -> Finding:
    manifest = backup.manifest
    taken = snapshot_of(manifest)
    age = now - clock.from_iso(taken)
    told = f"{backup.ref.id} of {', '.join(names)}, as of {taken}: {duration(max(age, 0))} ago"
    if manifest.next_by and clock.from_iso(manifest.next_by) < now:
        hint = "what makes the backups has stopped, or the store was rolled back"
        return Finding(NEWEST, "warning", f"{told}; the next was due by {manifest.next_by}", hint)
    return Finding(NEWEST, "ok", told)


def _whole(opened: Opened, backup: Backup) -> Iterator[Finding]:
    report = verify(opened, backup, None, Quiet())
    for finding in report.findings:
        told = f"{finding.what}: {finding.message}"
        if finding.severity == "error":
            yield Finding("its parts", "failure", told, status=Damaged.exit_status)
        else:
            yield Finding("its parts", finding.severity, told)
    if not report.findings:
        told = f"its signature holds, and its indexes and {count(report.packs, 'pack')} are there"
        yield Finding("its parts", "ok", told)
