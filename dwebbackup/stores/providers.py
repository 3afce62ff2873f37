"""What differs between those who speak S3, as data: where they are, how much they take, what they call things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dwebbackup.errors import WrongConfiguration


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of server. What is empty or None is as it is at AWS, which boto3 knows."""

    scheme: str = "s3"
    """Of its stores' URLs, and of its objects' links."""
    tier: str = ""
    """Stands in the URL beside the scheme, where that alone does not say which."""
    endpoint: str = ""
    """Where it is, unless the URL says otherwise."""
    example: str = ""
    """An endpoint to show whoever has to name one; empty where none has to be named."""
    region: str = ""
    path_style: bool | None = None
    requests: int = 0
    """How many it takes in a second; 0 where nobody counts them."""
    cids: bool = False
    """Whether each object is on IPFS, too, and a put's answer says under which CID."""
    gone: str = ""
    """What it says when nothing is there to delete, in an error that else would mean that it failed."""
    deletion: str = "deleted"
    """As in `StoreTraits`."""


AWS = Provider()
"""Or anybody who does as AWS does, at an endpoint of their own."""

FILEBASE_IPFS = Provider(
    "filebase",
    endpoint="https://s3.filebase.com",
    region="us-east-1",
    path_style=True,
    requests=100,
    cids=True,
    deletion="unpinned",
)
FILEBASE_OBJECT = Provider(
    "filebase", "object", endpoint="https://s3.filebase.io", region="auto", path_style=True, requests=500
)
S3D = Provider("sia+s3d", example="http://127.0.0.1:8000", region="us-east-1", path_style=True)
RENTERD = Provider(
    "sia+renterd", example="http://127.0.0.1:8080", region="us-east-1", path_style=True, gone="object not found"
)
"""It lists without a delimiter, or with `/`; ours are without. Deleting what is not there is an internal error to it
(renterd 2.9.3, `worker/s3/backend.go`).
"""

_KINDS: Mapping[str, Mapping[str, Provider]] = {
    "s3": {"": AWS},
    "filebase": {"": FILEBASE_IPFS, "ipfs": FILEBASE_IPFS, "object": FILEBASE_OBJECT},
    "sia+s3d": {"": S3D},
    "sia+renterd": {"": RENTERD},
}


def provider(scheme: str, tier: str = "") -> Provider:
    """The one that a URL means. Raises `WrongConfiguration`."""
    tiers = _KINDS.get(scheme)
    if tiers is None:
        raise WrongConfiguration(
            f"{scheme}:// is no S3 store", f"there is: {', '.join(f'{each}://' for each in _KINDS)}"
        )
    if tier not in tiers:
        raise WrongConfiguration(f"{scheme}:// has no tier {tier!r}", f"write one of: {', '.join(filter(None, tiers))}")
    return tiers[tier]
