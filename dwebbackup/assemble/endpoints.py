"""What is backed up, what a restore fills, and who else may read it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dwebbackup.assemble.schemes import require_scheme
from dwebbackup.config import Config, SourceConfig
from dwebbackup.errors import WrongConfiguration
from dwebbackup.ports import Source, Target
from dwebbackup.primitives import from_bech32


def sources(config: Config) -> list[Source]:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.sources:
        raise WrongConfiguration(
            "no source is configured", "set DWEBBACKUP_SOURCE=postgresql://USER@HOST/DATABASE, or use --source"
        )
    last = sorted(config.sources, key=lambda source: source.url.startswith("files:"))  # what a database refers to
    return [_source(source, config) for source in last]


def target(config: Config) -> Target:
    """Raises `WrongConfiguration` when there is none, or one of an unknown kind."""
    if not config.target:
        raise WrongConfiguration(
            "no target is configured",
            "use --to postgresql://USER@HOST/DATABASE, or files:///FOLDER, or set DWEBBACKUP_TARGET",
        )
    return _TARGETS[require_scheme("target", config.target, tuple(_TARGETS))](config.target, config)


def own_target(source: SourceConfig, config: Config) -> Target:
    """The source's own database or folder, to be filled again. Raises `WrongConfiguration`."""
    return _TARGETS[require_scheme(f"source {source.name}", source.url, tuple(_TARGETS))](source.url, config)


def recipients(config: Config) -> tuple[bytes, ...]:
    """The extra age recipients. Raises `WrongConfiguration` for what is no X25519 recipient."""
    return tuple(map(_recipient, config.recipients))


def _source(source: SourceConfig, config: Config) -> Source:
    return _SOURCES[require_scheme(f"source {source.name}", source.url, tuple(_SOURCES))](source, config)


def _postgres_source(source: SourceConfig, config: Config) -> Source:
    from dwebbackup.sources.postgres import PostgresSource  # noqa: PLC0415  # 0.1 s that `list` need not wait for

    return PostgresSource(source.url, source.name, config.jobs, config.postgres_bin or None)


def _postgres_target(url: str, config: Config) -> Target:
    from dwebbackup.sources.postgres import PostgresTarget  # noqa: PLC0415  # as with sources

    return PostgresTarget(url, config.jobs, config.postgres_bin or None)


def _files_source(source: SourceConfig, _: Config) -> Source:
    from dwebbackup.sources.files import FilesSource  # noqa: PLC0415  # as with others

    return FilesSource(source.url, source.name)


def _files_target(url: str, _: Config) -> Target:
    from dwebbackup.sources.files import FilesTarget  # noqa: PLC0415  # as with others

    return FilesTarget(url)


def _mysql_source(source: SourceConfig, config: Config) -> Source:
    from dwebbackup.sources.mysql import MysqlSource  # noqa: PLC0415  # as with others

    return MysqlSource(source.url, source.name, config.jobs)


def _mysql_target(url: str, _: Config) -> Target:
    from dwebbackup.sources.mysql import MysqlTarget  # noqa: PLC0415  # as with others

    return MysqlTarget(url)


_SOURCES: Mapping[str, Callable[[SourceConfig, Config], Source]] = {
    "postgresql": _postgres_source,
    "postgres": _postgres_source,
    "mysql": _mysql_source,
    "mariadb": _mysql_source,
    "files": _files_source,
}
_TARGETS: Mapping[str, Callable[[str, Config], Target]] = {
    "postgresql": _postgres_target,
    "postgres": _postgres_target,
    "mysql": _mysql_target,
    "mariadb": _mysql_target,
    "files": _files_target,
}
"""What makes a source, and what a target, by the scheme of its URL."""


def _recipient(text: str) -> bytes:
    hint = "one begins with age1, and has 62 characters"
    try:
        prefix, payload = from_bech32(text)
    except WrongConfiguration as error:  # which speaks of any key
        raise WrongConfiguration(f"{text[:24]} is not an age recipient: {error}", hint) from None
    if prefix != "age" or len(payload) != 32:
        raise WrongConfiguration(f"{text[:24]} is not an age recipient", hint)
    return payload
