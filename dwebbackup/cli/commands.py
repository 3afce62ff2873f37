"""The list of commands; each one's module is imported only when it is needed, so that `--help` is quick."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

import dwebbackup

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SUMMARIES = {
    "key": "Make keys, and show them.",
    "init": "Mark the start of a writer in the store.",
    "backup": "Make one backup now.",
    "list": "List the backups there are.",
    "show": "Show what is in one backup.",
    "restore": "Bring a backup back into a database or a folder.",
    "verify": "Check that the backups are whole.",
    "repair": "Copy what one store lost from another.",
    "prune": "Drop old backups, as a policy says.",
    "daemon": "Back up on schedule, beside a database.",
    "doctor": "Check everything that backups and restores need.",
    "links": "Compute the links of files, offline.",
    "completion": "Print a script that completes commands and options.",
    "demo": "See the whole story on a throw-away server.",
}
"""Each command's summary: the first sentence of its help."""


class Commands(click.Group):
    """A group whose members are modules of this folder, each with a `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUMMARIES:
            return None
        command = importlib.import_module(f"dwebbackup.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.name = cmd_name
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Like click's, without importing every command for its help."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only Tab needs it

        found = [CompletionItem(name, help=text) for name, text in SUMMARIES.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.command(cls=Commands, no_args_is_help=False, context_settings={"max_content_width": 100})
@click.version_option(dwebbackup.__version__, prog_name="dwebbackup")
def commands() -> None:
    """Encrypted, deduplicated database backups to decentralised storage, and back from 24 words.

    Everything can be configured by options, by variables (DWEBBACKUP_SOURCE, DWEBBACKUP_STORE,
    DWEBBACKUP_KEY, ...) or by a YAML file; what stands first in this list wins.

    Exit status: 0 done; 1 failed; 2 usage or configuration; 3 done, but incomplete or suspect;
    10 no such backup; 11 target not empty; 12 damaged; 13 store unreachable; 14 database unreachable
    or refused; 15 client program missing or too old; 16 this key may not do that; 130 interrupted.
    """
