"""What to install on a database server for an extension that it lacks, as Debian calls it."""

from __future__ import annotations

from collections.abc import Iterable

_BY_MAJOR = {
    "address_standardizer": "postgis-3",
    "hll": "hll",
    "hypopg": "hypopg",
    "ip4r": "ip4r",
    "orafce": "orafce",
    "pg_cron": "cron",
    "pg_partman": "partman",
    "pg_repack": "repack",
    "pgaudit": "pgaudit",
    "pgrouting": "pgrouting",
    "plpgsql_check": "plpgsql-check",
    "postgis": "postgis-3",
    "postgis_raster": "postgis-3",
    "postgis_sfcgal": "postgis-3",
    "postgis_tiger_geocoder": "postgis-3",
    "postgis_topology": "postgis-3",
    "rum": "rum",
    "timescaledb": "timescaledb",
    "vector": "pgvector",
}
"""Extensions in packages that are called `postgresql-<major>-…`."""

_LANGUAGES = {"plperl": "plperl", "plperlu": "plperl", "plpython3u": "plpython3", "pltcl": "pltcl", "pltclu": "pltcl"}
"""Extensions in packages that are called `postgresql-…-<major>`."""


def packages(extensions: Iterable[str], major: int) -> tuple[str, ...]:
    """Debian's packages with these extensions for servers of this major version, as far as they are known."""
    found = []
    for extension in extensions:
        if extension in _BY_MAJOR:
            found.append(f"postgresql-{major}-{_BY_MAJOR[extension]}")
        elif extension in _LANGUAGES:
            found.append(f"postgresql-{_LANGUAGES[extension]}-{major}")
    return tuple(dict.fromkeys(found))
