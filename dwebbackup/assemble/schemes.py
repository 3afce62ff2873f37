"""Which kinds of URLs there are for something: one that is of none of them is told by its scheme alone."""

from __future__ import annotations

from collections.abc import Sequence

from dwebbackup.errors import WrongConfiguration


def require_scheme(what: str, url: str, known: Sequence[str]) -> str:
    """The URL's scheme. The rest of it is not shown: it may hold a password."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme.lower() not in known:
        said = f"{what} is of a kind that this version does not know: {scheme}://"
        hint = "it knows " + ", ".join(f"{each}://" for each in known)
        raise WrongConfiguration(said if scheme else f"{what} is not a URL", hint)
    return scheme.lower()
