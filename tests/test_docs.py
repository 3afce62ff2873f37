"""docs/cli.md is what the program says of itself. `python tests/test_docs.py` writes it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import dwebbackup
from dwebbackup import errors
from dwebbackup.cli import commands
from dwebbackup.cli.commands import SUMMARIES
from dwebbackup.config import Given, load
from dwebbackup.config.names import FILE_KEYS, MEANINGS, PREFIX, SECRETS, STORE_SECRETS
from dwebbackup.config.usual import DATABASE, HOST, PASSWORD, PORT, USER
from dwebbackup.schedule import Schedule

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"

EXAMPLE = (Path(__file__).parents[1] / "examples" / "dwebbackup.yaml").read_text()


def rendered() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# The command line"
    yield ""
    yield "Written by `python tests/test_docs.py` from what the program says of itself; change it there."
    yield from _configuration()
    yield from _statuses()
    yield from _help("dwebbackup", commands, None)


def _configuration() -> Iterator[str]:
    yield from ("", "## Configuration", "")
    yield "An option wins over a variable, and this over the YAML file: that of `--config`, else the first of"
    yield "`dwebbackup.yaml` here, `~/.config/dwebbackup.yaml` (`$XDG_CONFIG_HOME/dwebbackup.yaml`, where that is set),"
    yield "`/etc/dwebbackup.yaml`. An empty variable counts as not set, an unknown one is an error."
    yield from ("", "| variable | is |", "|---|---|")
    for name, meaning in MEANINGS.items():
        also = f", or `{PREFIX}{name}_FILE`" if name in SECRETS else ""
        yield f"| `{PREFIX}{name}`{also} | {meaning} |"
    for name, meaning in STORE_SECRETS.items():
        variable = f"{PREFIX}STORE_<NAME>_{name}"
        yield f"| `{variable}`, or `…_{name}_FILE` | {meaning} |"
    yield from ("", "The YAML file:", "", "```yaml", *EXAMPLE.splitlines(), "```")
    yield from _usual_variables()


def _usual_variables() -> Iterator[str]:
    yield from ("", "### The variables of PostgreSQL", "")
    yield "Where no source is configured, neither by `--source` nor by `DWEBBACKUP_SOURCE` nor in the YAML file, and libpq's"
    yield "`PGHOST` or the `postgres` image's `POSTGRES_HOST` is set, the source is what these variables tell of:"
    yield from ("", "| | the first that is set of | else |", "|---|---|---|")
    rows = (("host", HOST, "no source"), ("port", PORT, "5432"), ("user", USER, "`postgres`"))
    rows += (("password", PASSWORD, "what libpq finds: `~/.pgpass`"), ("database", DATABASE, "called as the user"))
    for what, names, otherwise in rows:
        yield f"| {what} | {', '.join(f'`{name}`' for name in names)} | {otherwise} |"
    yield ""
    yield "`POSTGRES_USER`, `POSTGRES_PASSWORD` and `POSTGRES_DB` may stand in files, as with the image: `…_FILE`. So on a machine"
    yield "on which `psql` needs no arguments because of `PGHOST`, `dwebbackup backup` needs no source; unlike `psql`, it takes the"
    yield "user `postgres` where none is named. What Kubernetes sets for each service of a lease is no setting, neither of ours nor of"
    yield "PostgreSQL: `POSTGRES_PORT=tcp://10.0.0.1:5432`, `DWEBBACKUP_PORT=tcp://…`, `DWEBBACKUP_SERVICE_HOST=…`."


def _statuses() -> Iterator[str]:
    yield from ("", "## Exit status", "")
    yield "With `--json`, an error is also one JSON object on stdout: `error`, `hint`, `status`."
    yield from ("", "| status | means |", "|---|---|", "| 0 | Done. |", "| 1 | It failed; the message says why. |")
    kinds = [kind for kind in errors.DwebbackupError.__subclasses__() if kind.exit_status > 1]
    for kind in sorted(kinds, key=lambda kind: kind.exit_status):
        yield f"| {kind.exit_status} | {kind.__doc__} |"


def _help(path: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, parent, path.rpartition(" ")[2], terminal_width=100, max_content_width=100)
    yield from ("", f"## {path}", "", "```text", *command.get_help(context).splitlines(), "```")
    for name, member in _members(command, context):
        yield from _help(f"{path} {name}", member, context)


def _members(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            member = command.get_command(context, name)
            assert member
            yield name, member


def every_command(command: click.Command = commands, path: str = "dwebbackup") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    for name, member in _members(command, click.Context(command)):
        yield from every_command(member, f"{path} {name}")


def test_the_page_is_what_the_program_says():
    assert PAGE.read_text() == rendered(), "run: python tests/test_docs.py"


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_is_the_first_sentence_of_the_help(name: str):
    command = commands.get_command(click.Context(commands), name)
    assert command
    assert command.get_short_help_str(200) == SUMMARIES[name]


@pytest.mark.parametrize(("path", "command"), list(every_command()))
def test_everything_is_explained(path: str, command: click.Command):
    assert command.help, path
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{path} {option.name}"


def test_only_commands_that_exist_are_advised():
    known = {path.removeprefix("dwebbackup ") for path, _ in every_command()}
    for module in Path(dwebbackup.__file__).parent.rglob("*.py"):
        for words in re.findall(r"`dwebbackup ([a-z]+(?: [a-z]+)?)", module.read_text()):
            first = words.partition(" ")[0]
            assert words in known or (first in known and first != "key"), f"{module.name}: dwebbackup {words}"


def test_the_yaml_example_is_good_and_complete(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(EXAMPLE.replace("/run/secrets/", f"{tmp_path}/"))
    (tmp_path / "blog-url").write_text("postgresql://app:secret@db/blog")
    (tmp_path / "writer-key").write_text("dwbw1...")
    (tmp_path / "reader-key").write_text("dwbr1...")
    (tmp_path / "page-token").write_text("b5f0a1d2c3e4f5a6")
    (tmp_path / "notify").write_text("https://example.org/hook")
    config = load(Given(config=str(tmp_path / "c.yaml")), {})
    assert (config.sources[0].name, config.stores[0].name, config.key, config.jobs) == ("blog", "disk", "dwbw1...", 4)
    assert str(config.keep).startswith("last 7, daily 14, monthly 12, within 14d")
    assert config.schedule == Schedule("daily at 03:00", "Europe/Berlin", jitter=600)
    assert config.sources[0].schedule == Schedule("every 6 hours", "Europe/Berlin", jitter=600)
    assert (config.restore_key, config.page_token) == ("dwbr1...", "b5f0a1d2c3e4f5a6")
    assert (config.listen, config.notify) == ("127.0.0.1:8080", ("https://example.org/hook",))
    assert (config.suspect_below, config.backup_on_stop) == (0.5, True)
    assert (len(config.gateways), config.portals, len(config.routers)) == (2, (), 1)
    assert set(FILE_KEYS) - {"target_file", "page_token", "notify"} == {
        line.partition(":")[0] for line in EXAMPLE.splitlines() if line and line[0] not in " #"
    }


if __name__ == "__main__":
    PAGE.write_text(rendered())
