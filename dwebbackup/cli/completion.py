"""`dwebbackup completion`: the script by which a shell completes our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dwebbackup.cli import COMPLETE
from dwebbackup.cli.commands import commands


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    r"""Print a script that completes commands and options.

    \b
    bash: put this into ~/.bashrc       eval "$(dwebbackup completion bash)"
    zsh: put this into ~/.zshrc         eval "$(dwebbackup completion zsh)"
    fish: run this once                 dwebbackup completion fish > ~/.config/fish/completions/dwebbackup.fish
    """
    kind = get_completion_class(shell)
    assert kind
    print(kind(commands, {}, "dwebbackup", COMPLETE).source())
