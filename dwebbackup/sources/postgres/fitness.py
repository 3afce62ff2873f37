"""Whether a server can take a backup: what the backup needs against what the server has, all of it told at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from dwebbackup.errors import DatabaseRefused
from dwebbackup.manifest import Extension
from dwebbackup.sources.postgres.collations import ICU, LIBC
from dwebbackup.sources.postgres.needs import Needs, Offered, Offers
from dwebbackup.sources.postgres.packages import packages

GONE = {"adminpack": 17, "old_snapshot": 17}
"""Extensions that PostgreSQL dropped, and since when. They held tools for administrators, and nothing of a user's."""

BY_DATABASE = {"pg_cron": "cron"}
"""Extensions that can only be made in a database that a setting of the server names, and the schemas that they make."""

MENTIONED = 10
"""Things of one kind that a sentence names."""

SAME_VERSION = frozenset({"timescaledb"})
"""Extensions whose rows are of use only to the version that wrote them, as their makers say."""


class Grade(Enum):
    """How much a difference matters."""

    LACKING = "without it, there is no restore"
    SHORT = "the restore goes on, and something comes short"
    NOTE = "something is not as it was, without harm"
    DOUBT = "worth knowing beforehand: the server may refuse"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the server is not like the source."""

    grade: Grade
    sentence: str
    hint: str = ""


def judge(needs: Needs, offers: Offers) -> tuple[Difference, ...]:
    """Everything in which the two differ."""
    return (
        *_of_server(needs, offers),
        *_of_missing_extensions(needs, offers),
        *_of_extensions(needs, offers),
        *_of_reserved(needs, offers),
        *_of_locales(needs, offers),
        *_of_rules(needs, offers),
    )


def require(differences: Iterable[Difference], url: str) -> None:
    """Raises `DatabaseRefused`, which names all that is lacking."""
    lacking = [difference for difference in differences if difference.grade is Grade.LACKING]
    if lacking:
        raise DatabaseRefused(
            f"{url} cannot take this backup: {'; '.join(difference.sentence for difference in lacking)}",
            "; ".join(difference.hint for difference in lacking if difference.hint),
        )


def sentences(differences: Iterable[Difference], grade: Grade) -> tuple[str, ...]:
    return tuple(difference.sentence for difference in differences if difference.grade is grade)


def left_out(needs: Needs, offers: Offers) -> tuple[str, ...]:
    """Extensions that the server cannot have any more, or not yet."""
    gone = [name for name in _missing(needs, offers) if name in GONE and offers.major >= GONE[name]]
    return (*gone, *(extension.name for extension in needs.extensions if extension.name in BY_DATABASE))


def _missing(needs: Needs, offers: Offers) -> Sequence[str]:
    return [extension.name for extension in needs.extensions if extension.name not in offers.extensions]


def _of_server(needs: Needs, offers: Offers) -> Iterator[Difference]:
    if offers.major < needs.major:
        yield Difference(
            Grade.LACKING,
            f"the backup is of PostgreSQL {needs.major}, and the server is PostgreSQL {offers.major}",
            f"restore onto PostgreSQL {needs.major} or newer",
        )
    if not offers.knows_encoding:
        yield Difference(Grade.LACKING, f"the server does not know the encoding {needs.encoding}")


def _of_missing_extensions(needs: Needs, offers: Offers) -> Iterator[Difference]:
    without = left_out(needs, offers)
    for name in without:
        why = (
            "and its own rows: the server has it only in the database that its configuration names; make it there"
            if name in BY_DATABASE
            else f"which PostgreSQL has dropped in {GONE[name]}"
        )
        yield Difference(Grade.SHORT, f"left out: the extension {name}, {why}")
    lacking = [name for name in _missing(needs, offers) if name not in without]
    if lacking:
        known = ", ".join(packages(lacking, offers.major))
        yield Difference(
            Grade.LACKING,
            f"the server lacks the extensions {', '.join(lacking)}",
            f"install their packages on the database server{f' (Debian: {known})' if known else ''}, "
            "then restore again",
        )


def _of_extensions(needs: Needs, offers: Offers) -> Iterator[Difference]:
    for extension in needs.extensions:
        if extension.name in offers.extensions and extension.name not in BY_DATABASE:
            yield from _of_version(extension, offers.extensions[extension.name])
            if offers.extensions[extension.name].for_superusers and not offers.superuser:
                yield Difference(
                    Grade.DOUBT,
                    f"extension {extension.name} may be refused: only superusers may make it, and this role is none",
                )


def _of_reserved(needs: Needs, offers: Offers) -> Iterator[Difference]:
    """No reason to refuse: hosts of databases let their customers do some of it all the same."""
    if needs.reserved and not offers.superuser:
        more = f", and {len(needs.reserved) - MENTIONED} more" if len(needs.reserved) > MENTIONED else ""
        yield Difference(
            Grade.DOUBT,
            f"the restore may be refused at {', '.join(needs.reserved[:MENTIONED])}{more}: "
            "only superusers may make them, and this role is none",
        )


def _of_version(extension: Extension, offered: Offered) -> Iterator[Difference]:
    """pg_restore makes the server's default version, since dumps name none.

    A newer one is what an update would have led to. An older one is no reason to refuse: where the schema needs more
    than it has, the server says so before any row is read; but functions that nobody asked for yet may be missing.
    """
    name = extension.name
    if name in SAME_VERSION and extension.version not in offered.versions:
        yield Difference(
            Grade.LACKING,
            f"the backup needs {name} {extension.version}, and the server has {', '.join(sorted(offered.versions))}",
            f"install {name} {extension.version} on the database server, and update it after the restore",
        )
    elif name not in SAME_VERSION and extension.version != offered.version:
        different = f"extension {name} is {offered.version} here, and was {extension.version}"
        if offered.leads_here:
            yield Difference(Grade.NOTE, different)
        else:
            yield Difference(
                Grade.SHORT,
                f"{different}, from which no update leads to it: what it lacks is missed when somebody asks for it",
            )


def _of_locales(needs: Needs, offers: Offers) -> Iterator[Difference]:
    by_icu = [collation.name for collation in needs.collations if collation.provider == ICU]
    if (needs.provider == ICU or by_icu) and not offers.has_icu:
        what = "the database" if needs.provider == ICU else f"the collations {', '.join(by_icu)}"
        yield Difference(
            Grade.LACKING,
            f"the server was built without ICU, which {what} would need",
            "restore onto a PostgreSQL built with ICU, as the packages of Debian, Alpine and Red Hat are",
        )
    asked = (*needs.locales, *(locale for collation in needs.collations for locale in collation.locales))
    unknown = [locale for locale in dict.fromkeys(asked) if locale not in offers.locales]
    if unknown:
        yield Difference(
            Grade.LACKING,
            f"the server's system lacks the locales {', '.join(unknown)}",
            "install them on the database server (Debian: locales-all), and make its cluster anew with initdb",
        )
    nameless = [
        collation.name
        for collation in needs.collations
        if collation.of_system
        and collation.name not in offers.collations
        and (offers.has_icu if collation.provider == ICU else offers.locales.issuperset(collation.locales))
    ]
    if nameless:
        yield Difference(
            Grade.LACKING,
            f"the server lacks the collations {', '.join(nameless)}",
            "initdb finds them: make the database server's cluster anew, with their locales installed",
        )


def _of_rules(needs: Needs, offers: Offers) -> Iterator[Difference]:
    """Indexes are no matter: a restore builds them by the rules that it finds."""
    if needs.version == offers.version or not needs.version or (needs.provider != LIBC and not offers.version):
        return
    here = f"by version {offers.version} here" if offers.version else "by rules of no known version here"
    yield Difference(
        Grade.NOTE,
        f"text sorts {here}, and by {needs.version} of {needs.locale} in the source: indexes are built for that, but a "
        "CHECK, a unique index, or a partition by range of text may refuse what it took before",
    )
