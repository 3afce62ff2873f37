"""Fetches files from a Skynet portal by their skylinks, and hashes what comes."""

from __future__ import annotations

from dwebbackup.errors import Damaged, ObjectMissing, WrongConfiguration
from dwebbackup.links import skyfile, skylink
from dwebbackup.links.skylink import SECTOR, Skylink
from dwebbackup.links.uris import SIA
from dwebbackup.stores.skynet.registry import followed
from dwebbackup.stores.web import Answer, Endless, Web

_LONGEST_PROOF = 32 * 64
"""Bytes: two hashes for each level of a sector's tree, and more than that."""


class PortalCarrier:
    """The portal *web* as a `Carrier`."""

    def __init__(self, name: str, web: Web) -> None:
        self._name = name
        self._web = web

    @property
    def name(self) -> str:
        return self._name

    def carries(self, link: str) -> bool:
        return link.startswith(SIA)

    def fetch(self, link: str) -> bytes:
        """A resolver skylink is followed, entry by entry."""
        asked = skylink.parse(link.removeprefix(SIA).removesuffix("/"))
        answer = self._asked(f"/{asked.text}", SECTOR)
        target = followed(asked, answer.headers.get("skynet-proof", ""), self._name) if asked.version == 2 else asked
        if _leads_to(target, answer.body):
            return answer.body
        return self._out_of_sector(target)

    def _out_of_sector(self, link: Skylink) -> bytes:
        """Of a file with other metadata than ours, which are hashed with it."""
        try:
            sector = self._asked(f"/skynet/trustless/basesector/{link.text}", link.fetch + _LONGEST_PROOF)
            return skyfile.data_in(sector.body, link)
        except (Damaged, Endless) as error:
            raise Damaged(
                f"portal {self._name} gave other bytes than {link.text} stands for", "ask another portal or store"
            ) from error

    def _asked(self, path: str, limit: int) -> Answer:
        answer = self._web.ask("GET", path, limit=limit, expect=(200, 404))
        if answer.status == 404:
            raise ObjectMissing(
                f"portal {self._name} does not have {path.rpartition('/')[2]} now", "ask another portal or store"
            )
        return answer


def _leads_to(link: Skylink, data: bytes) -> bool:
    """Whether it is the skylink of *data* under the name that we give to every file."""
    try:
        return skyfile.skylink_of(data) == link
    except WrongConfiguration:  # larger than one of ours can be
        return False
