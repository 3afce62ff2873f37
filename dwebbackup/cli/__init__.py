"""The command line: parse, call, print. One module a command, loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from dwebbackup.cli.commands import commands
from dwebbackup.cli.edge import run

__all__ = ["commands", "main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """What `dwebbackup` on the command line runs."""
    sys.exit(run(commands, list(sys.argv[1:] if arguments is None else arguments)))
