"""What the commands share: their common options, the configuration these lead to, and how results are shown."""

from __future__ import annotations

import functools
import getpass
import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import click

from dwebbackup import config
from dwebbackup.cli.edge import try_to_tell, write
from dwebbackup.config import Config, Given
from dwebbackup.errors import Incomplete, KeyForbids, WrongConfiguration
from dwebbackup.keys import Key, OwnerKey, parse_key
from dwebbackup.ports import Progress
from dwebbackup.report import log
from dwebbackup.report.progress import progress_on
from dwebbackup.report.redaction import redact

Command = Callable[..., int | None]
"""Gives the exit status, where it is not 0."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the program."""

    given: Given = field(default_factory=Given)
    json: bool = False
    quiet: bool = False

    def config(self, *, with_key: bool = True, **more: Any) -> Config:
        """The configuration, with what this command was *given* besides the common options."""
        loaded = config.load(replace(self.given, **more), with_key=with_key)
        self.warn(loaded.warnings)
        return loaded

    def survey(self) -> tuple[Config, tuple[WrongConfiguration, ...]]:
        """The configuration and all that is wrong with it; nothing of that is told yet."""
        return config.survey(self.given)

    def show(self, document: Mapping[str, Any], text: str) -> None:
        """What was asked for, on stdout: for programs or for people."""
        write(f"{json.dumps(document, ensure_ascii=False) if self.json else text}\n")

    def report(self, document: Mapping[str, Any], text: str, *, good: bool) -> None:
        """How something that was done went; where it went well, `--quiet` has nothing to say."""
        if self.json or not (self.quiet and good):
            self.show(document, text)

    def warn(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            try_to_tell(sys.stderr, f"warning: {redact(sentence)}")

    def end(self, doubts: Sequence[str]) -> int | None:
        """The exit status of work that is done; *doubts* make it incomplete, and are told."""
        self.warn(doubts)
        return Incomplete.exit_status if doubts else None

    def progress(self) -> AbstractContextManager[Progress]:
        return progress_on(sys.stderr, quiet=self.quiet)


def with_session(command: Command) -> Command:
    """Give *command* the common options, and what they say as its first argument, a `Session`."""

    @click.option(
        "--config", "config_file", default="", type=click.Path(), metavar="FILE", help="The YAML file to use."
    )
    @click.option(
        "--store",
        "stores",
        multiple=True,
        metavar="URL",
        help="Where backups are kept: file:///FOLDER, or s3://BUCKET/PREFIX. [DWEBBACKUP_STORE]",
    )
    @click.option(
        "--key-file",
        default="",
        type=click.Path(),
        metavar="FILE",
        help="A file with the words, or with a key line. [DWEBBACKUP_KEY_FILE]",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
    @click.option("--quiet", is_flag=True, help="Say nothing while and when all is well.")
    @click.option("--debug", is_flag=True, help="Show where an error comes from, and more log lines.")
    @functools.wraps(command)
    def wrapper(
        config_file: str, stores: tuple[str, ...], key_file: str, as_json: bool, quiet: bool, debug: bool, **rest: Any
    ) -> int | None:
        level = logging.DEBUG if debug else logging.WARNING if quiet else logging.INFO
        log.set_up(sys.stderr, level)
        given = Given(config=config_file, stores=stores, key_file=key_file)
        return command(Session(given, as_json, quiet), **rest)

    return wrapper


def key_of(loaded: Config) -> Key:
    """The configured key; on a terminal it is asked for where there is none. Raises `WrongConfiguration`."""
    if loaded.key:
        return parse_key(loaded.key)
    if not sys.stdin.isatty():
        raise WrongConfiguration(
            "no key is configured",
            "set DWEBBACKUP_KEY or DWEBBACKUP_KEY_FILE, or use --key-file; `dwebbackup key new` makes one",
        )
    try:
        return parse_key(getpass.getpass("The 24 words, or a key line (not shown): ", sys.stderr))
    except EOFError:
        raise WrongConfiguration("no key was entered") from None


def owner_of(loaded: Config, what: str) -> OwnerKey:
    """The configured key, which has to be the words. Raises `KeyForbids`."""
    key = key_of(loaded)
    if not isinstance(key, OwnerKey):
        raise KeyForbids(f"only the 24 words {what}", "this is a key line, which can do less on purpose")
    return key
