"""The schema archive back into a database: pg_restore, section by section, or some entries of one."""

from __future__ import annotations

import codecs
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from dwebbackup.errors import RestoreFailed
from dwebbackup.sources.postgres import contents
from dwebbackup.sources.postgres.connection import Connection, execute
from dwebbackup.sources.postgres.contents import Contents
from dwebbackup.sources.postgres.tools import Tools
from dwebbackup.sources.postgres.verdicts import Outcome, judge
from dwebbackup.sources.process import Child, Children
from dwebbackup.sources.voices import Voices

_SECRET = re.compile(
    r"(Command was: (?:CREATE|ALTER) (?:SUBSCRIPTION|SERVER|USER MAPPING|FOREIGN)\b.*?(?:CONNECTION|OPTIONS) )"
    r".*?(?=^pg_restore: |\Z)",
    re.DOTALL | re.MULTILINE,
)


@contextmanager
def archive_file(chunks: Iterable[bytes]) -> Iterator[str]:
    """The archive as a file, which a parallel pg_restore needs; it holds no row of any table."""
    with tempfile.NamedTemporaryFile(prefix="dwebbackup-schema-") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        yield file.name


def level_public(connection: Connection, archive_major: int) -> None:
    """Let the schema `public` begin with the rights that the archive takes for granted.

    Before 15 everybody may make things there. pg_dump tells what differs from how its own major begins.
    """
    here, there = connection.info.server_version < 150000, archive_major < 15
    if here and not there:
        execute(connection, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    if there and not here:
        execute(connection, "GRANT CREATE ON SCHEMA public TO PUBLIC")


@dataclass(frozen=True, slots=True)
class Archive:
    """A schema archive, and the database that it goes to."""

    path: str
    tools: Tools
    conninfo: str
    environment: Mapping[str, str]
    owners: bool
    """Whether owners and rights are restored, too."""
    left_out: frozenset[str] = frozenset()
    """Extensions that are not restored, and the schemas that they would make."""

    def contents(self, encoding: str = "UTF8") -> Contents:
        """What is in it; *encoding* is the source's, in which it names things. Raises `RestoreFailed`."""
        command = [self.tools.program("pg_restore"), "--list", "--verbose", self.path]
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, check=False)
        if done.returncode:
            raise RestoreFailed(f"pg_restore cannot read the schema: {done.stderr.decode(errors='replace').strip()}")
        return contents.parse(done.stdout.decode(_codec(encoding), errors="replace"))

    def restore(self, section: str, children: Children, jobs: int = 1, only: Iterable[int] | None = None) -> Outcome:
        """A section of it, or of that *only* some entries.

        What fails beside others is tried again alone: two workers of pg_restore can deadlock over a partition
        (one attaches an index, another makes a trigger), which is nobody's fault.
        Raises `RestoreFailed` with pg_restore's own words on any error that may matter.
        """
        jobs = jobs if Voices.TELLS_APART else 1
        outcome = self._run(section, children, jobs, only)
        if (outcome.fatal or outcome.spared) and not outcome.said and outcome.failed and jobs > 1:
            again = [id_ for id_ in self.contents() if id_ in outcome.failed]
            notes = outcome.notes
            outcome = self._run(section, children, 1, again)
            outcome = replace(outcome, notes=tuple(dict.fromkeys((*notes, *outcome.notes))))
        if outcome.fatal or outcome.said:
            why = "; ".join(outcome.fatal[:3]) or outcome.said
            raise RestoreFailed(f"pg_restore failed on the {section} section: {why}")
        return outcome

    def _run(self, section: str, children: Children, jobs: int, only: Iterable[int] | None) -> Outcome:
        command = [
            self.tools.program("pg_restore"),
            f"--dbname={self.conninfo}",
            f"--section={section}",
            f"--jobs={jobs}",
            "--no-password",
            "--no-tablespaces",  # another server has others, or none
            *(["--verbose"] if jobs > 1 else []),  # else it does not say which entries failed
            *([] if self.owners else ["--no-owner", "--no-acl"]),
        ]
        with ExitStack() as stack:
            nowhere = stack.enter_context(open(os.devnull, "wb"))
            if only is not None:
                wanted = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="dwebbackup-entries-"))
                wanted.writelines(f"{id_};\n" for id_ in only)
                wanted.flush()
                command.append(f"--use-list={wanted.name}")
            voices = stack.enter_context(Voices())
            pipes = {"stdout": nowhere.fileno(), "stderr": voices.theirs.fileno()}
            child = children.add(Child([*command, self.path], self.environment, **pipes))
            try:
                said = _without_secrets(voices.listen(child.process)).strip()
                return judge(child.process.wait(), said, self.left_out)
            finally:
                child.end()


def _codec(encoding: str) -> str:
    """Python's name for PostgreSQL's *encoding*; one that it does not know only costs us some names."""
    try:
        return codecs.lookup(re.sub(r"^WIN(?=\d)", "cp", encoding)).name
    except LookupError:
        return "ascii"


def _without_secrets(said: str) -> str:
    """pg_restore quotes what failed, and that may hold a password for another server."""
    return _SECRET.sub(r"\1…\n", said)
