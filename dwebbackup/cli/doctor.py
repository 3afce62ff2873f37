"""`dwebbackup doctor`: is everything as backups and restores need it?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import click

from dwebbackup import assemble, clock
from dwebbackup.cli.session import Session, key_of, with_session
from dwebbackup.cli.sheet import recovery_sheet, whereabouts, write_sheet
from dwebbackup.config import Config
from dwebbackup.config.layers import Noting
from dwebbackup.doctor import Patient, examine, status_of
from dwebbackup.errors import Incomplete, KeyForbids, WrongConfiguration
from dwebbackup.keys import Key, OwnerKey, ReaderKey, WriterKey, parse_key
from dwebbackup.ports import Finding, Source
from dwebbackup.report.notices import parse_channel
from dwebbackup.report.redaction import redact
from dwebbackup.report.wording import count

RENTED = ("AKASH_DEPLOYMENT_SEQUENCE", "AKASH_OWNER", "KUBERNETES_SERVICE_HOST")
"""Variables by which a machine looks rented: each lease and each pod has some."""


@click.command()
@click.option(
    "--sheet",
    type=click.Path(),
    metavar="FILE",
    help="Also write a recovery sheet to print, with the 24 words, readable by you only.",
)
@with_session
def command(session: Session, sheet: str | None) -> int | None:
    """Check everything that backups and restores need.

    All of the configuration, the key, each store (every verb with a probe of 1 MiB, its clock, the newest backup in
    it), each source (server, client programs, rights, room for locks). Nothing is changed, and the probe is
    removed again. Shows where the backups are, as it stands in a recovery sheet.

    With --json: `ok` (no failures), `findings` (`name`, `level`, `sentence`, `hint`, `status` each) and `recovery`.

    Exit status: 0, whatever the notices; 3 with warnings; with failures, that of the gravest.
    """
    config, wrong = session.survey()
    faults = list(wrong)
    patient = _patient(config, faults)
    if sheet and not isinstance(patient.key, OwnerKey):
        raise KeyForbids("a recovery sheet has the 24 words on it, and they are not the key here", "leave out --sheet")
    diagnosis = examine(patient)
    findings = [*_configuration(config, faults), *diagnosis.findings]
    stores = [store.url for store in config.stores]
    if sheet and isinstance(patient.key, OwnerKey):
        write_sheet(sheet, recovery_sheet(patient.key, stores, diagnosis.writers, clock.iso(clock.now())[:10]))
    status = status_of(findings)
    writers = [{"number": number, "writer_id": name} for number, name in diagnosis.writers or ()]
    document = {
        "ok": status in {0, Incomplete.exit_status},
        "findings": list(map(_document, findings)),
        "recovery": {"stores": stores, "writers": writers},
    }
    text = f"{_text(findings)}\n\n{whereabouts(stores, diagnosis.writers)}"
    session.report(document, text, good=status == 0)
    return status


def _patient(config: Config, faults: list[WrongConfiguration]) -> Patient:
    """All that can be put together of what is configured; the rest is among the *faults*."""
    key: Key | None = None
    with Noting(faults):
        key = key_of(config)
    stores = []
    for store in config.stores:
        with Noting(faults):
            stores.append(assemble.bare_store(store))
    if len(config.stores) != 1 or not config.stores[0].required:
        with Noting(faults):
            assemble.store(config)
    with Noting(faults):
        assemble.recipients(config)
    if config.target:
        with Noting(faults):
            assemble.target(config)
    faults += _of_the_sidecar(config)
    rented = next(filter(os.environ.get, RENTED), "")
    return Patient(key, tuple(stores), tuple(_sources(config, key, faults)), rented)


def _of_the_sidecar(config: Config) -> list[WrongConfiguration]:
    """What only `daemon` would meet. Nobody is told anything."""
    faults: list[WrongConfiguration] = []
    for url in config.notify:
        with Noting(faults):
            parse_channel(url)
    if config.restore_key:
        with Noting(faults):
            if isinstance(parse_key(config.restore_key), WriterKey):
                raise WrongConfiguration(
                    "DWEBBACKUP_RESTORE_KEY is a writer key, which cannot read one row",
                    "put the line there that `dwebbackup key reader` prints",
                )
    return faults


def _sources(config: Config, key: Key | None, faults: list[WrongConfiguration]) -> Iterator[Source]:
    """Those of a machine that makes backups, which one with a reader key does not."""
    if isinstance(key, ReaderKey):
        return
    for source in config.sources:
        with Noting(faults):
            yield from assemble.sources(replace(config, sources=(source,)))
    if isinstance(key, WriterKey) and not config.sources:
        with Noting(faults):
            assemble.sources(config)


def _configuration(config: Config, faults: Sequence[WrongConfiguration]) -> Iterator[Finding]:
    yield from (Finding.of("configuration", fault) for fault in faults)
    yield from (Finding("configuration", "warning", warning) for warning in config.warnings)
    if not faults and not config.warnings:
        yield Finding("configuration", "ok", "has no fault")
    if not config.sources:
        yield Finding("sources", "notice", "none is configured: nothing can be backed up from here")


def _document(finding: Finding) -> dict[str, Any]:
    """The finding, for programs."""
    return asdict(finding) | {"sentence": redact(finding.sentence), "hint": redact(finding.hint)}


def _text(findings: Sequence[Finding]) -> str:
    """The findings, for people."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        level = finding.level.upper() if finding.level == "failure" else finding.level
        lines.append(f"{level:<7}  {finding.name:<{width}}  {redact(finding.sentence)}")
        if finding.hint and finding.level != "ok":
            lines.append(f"{'':<7}  {'':<{width}}  hint: {redact(finding.hint)}")
    counts = Counter(finding.level for finding in findings)
    told = [count(counts[level], level) for level in ("failure", "warning", "notice") if counts[level]]
    return "\n".join([*lines, "", ", ".join(told) or "all is well"])
