"""The command line: parse, call, print. One module a command, loaded when it is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dwebbackup.cli.commands import commands
from dwebbackup.cli.edge import run

__all__ = ["commands", "main"]

COMPLETE = "_DWEBBACKUP_COMPLETE"
"""The variable in which the scripts of `dwebbackup completion` say what they want to know."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """What `dwebbackup` on the command line runs."""
    if question := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete  # noqa: PLC0415  # only Tab needs it

        sys.exit(shell_complete(commands, {}, "dwebbackup", COMPLETE, question))
    sys.exit(run(commands, list(sys.argv[1:] if arguments is None else arguments)))
