"""A store on an IPFS node: objects are files that it pins, and their names are names in its own file system, MFS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from dwebbackup import stores
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable
from dwebbackup.links.cid import Cid
from dwebbackup.links.unixfs import cid_of, profiles_of
from dwebbackup.links.uris import IPFS, cids_in
from dwebbackup.ports import Stored, StoreTraits
from dwebbackup.stores import (
    LOOK_WHO_NEEDS_IT,
    NO_END,
    Refused,
    TooLarge,
    Waiting,
    check_name,
    check_prefix,
    check_size,
    is_name,
)
from dwebbackup.stores.ipfs.address import Address
from dwebbackup.stores.ipfs.entries import Entry, newest, next_entry, of_name
from dwebbackup.stores.ipfs.rpc import NodeError, rpc_at
from dwebbackup.stores.web import Endless

_AT_ONCE = 8
"""Folders that are listed at once."""

_TURNS = 1000
"""How often somebody else may be quicker before that is called an error."""


class IpfsStore:
    """A folder in the MFS of the node at *address* as a `Place`. *token*: what the server before the node wants to see.

    A file is added and pinned, and then gets its name (`Entry`); only after that, older ones of this name go. So an
    object is the old one or the new one, whatever ends the process. What counts is MFS, which keeps files from the
    node's garbage collection: the pin does so until the name is there, and shows what is kept to people, and to
    services that go by pins. So nothing is lost when a pin goes that a second object with the same bytes had, too.

    The node is only asked for what it has itself, and never has to look for it on the network.
    """

    def __init__(self, address: Address, name: str = "ipfs", token: str = "", waiting: Waiting = NO_END) -> None:
        self._rpc = rpc_at(address, token, waiting)
        self._address = address
        self._name = name
        self._root = f"/{address.folder}"
        self._prepared = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._address.url

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(distance=self._address.distance, deletion="unpinned")

    def prepare(self) -> None:
        """Make the folder, if there is none. Raises `StoreUnreachable`."""
        self._rpc.version()
        self._rpc.make_folder(self._root)
        self._prepared = True

    def has_begun(self) -> bool:
        """Whether there is a folder; True where that cannot be told, so that the first call says what hinders it."""
        try:
            return self._rpc.is_folder(self._root)
        except NodeError as error:
            return not error.is_missing
        except StoreUnreachable:
            return True

    def put(self, name: str, data: bytes) -> tuple[str, ...]:
        """As the port says. The first one prepares the store."""
        check_name(name)
        if not self._prepared:
            self.prepare()
        ours = cid_of(data)
        theirs, now = self._rpc.add(data)
        if theirs != ours:
            raise Refused(
                f"store {self._name} keeps {name} as {theirs.text}, and the CID of these bytes is {ours.text}",
                "either something on the way changes what is sent, or the node does not go by the options of `add`",
            )
        self._replace(name, len(data), ours, now)
        return (IPFS + ours.text,)

    def get(self, name: str, links: Sequence[str] = ()) -> bytes:
        """By the first link, which saves looking for the name; by the name; and by the other links."""
        check_name(name)
        known = cids_in(links)
        data = self._read_linked(name, known[:1])
        if data is None:
            data = self._read_named(name)
        if data is None:
            data = self._read_linked(name, known[1:])
        if data is None:
            raise self._missing(name)
        return data

    def head(self, name: str) -> Stored:
        check_name(name)
        entries = self._entries(name)
        if not entries:
            raise self._missing(name)
        return Stored(name, entries[0].size, float(entries[0].seconds))

    def list(self, prefix: str) -> Iterator[Stored]:
        check_prefix(prefix)
        folder, slash, beginning = prefix.rpartition("/")
        return self._list(folder + slash, beginning)

    def delete(self, name: str) -> None:
        check_name(name)
        for entry in reversed(self._entries(name)):  # the one that counts last: an older one must not come back
            self._drop(name, entry)

    # Out

    def _replace(self, name: str, size: int, cid: Cid, now: float) -> None:
        """Give the file its name, and take it from what had it before."""
        folder, segment = self._split(name)
        for _ in range(_TURNS):
            before = self._entries(name)
            entry = next_entry(segment, now, size, cid, before)
            try:
                self._rpc.link(cid, f"{folder}/{entry.text}")
            except NodeError as error:
                if not error.is_taken:
                    raise
            else:
                for each in before:
                    self._drop(name, each, kept=cid)
                return
        raise StoreUnreachable(f"store {self._name} cannot keep {name}: others always put it first")

    def _drop(self, name: str, entry: Entry, kept: Cid | None = None) -> None:
        """The pin goes first: what has no pin any more still has its name, and the next try finds it by that."""
        folder, _ = self._split(name)
        if entry.cid != kept:
            self._rpc.unpin(entry.cid)
        self._rpc.unlink(f"{folder}/{entry.text}")

    # Back

    def _read_named(self, name: str) -> bytes | None:
        """None where nothing has this name."""
        for _ in range(_TURNS):
            entries = self._entries(name)
            if not entries:
                return None
            try:
                return self._read(name, entries[0])
            except ObjectMissing:
                if self._entries(name)[:1] == entries[:1]:  # nobody replaced it meanwhile
                    raise
        raise StoreUnreachable(f"store {self._name} cannot read {name}: it is always replaced before that")

    def _read(self, name: str, entry: Entry) -> bytes:
        check_size(f"{name} in store {self._name}", entry.size)
        data = self._fetch(name, entry.cid, entry.size)
        if cid_of(data) != entry.cid:
            raise Damaged(
                f"store {self._name} does not give back {name} as it was put: {len(data)} bytes of {entry.size}, "
                f"which are not those of {entry.cid.text}"
            )
        return data

    def _read_linked(self, name: str, known: Sequence[Cid]) -> bytes | None:
        """What has no name here may be here all the same."""
        for cid in known:
            with suppress(ObjectMissing):
                data = self._fetch(name, cid, stores.LARGEST)
                if profiles_of(data, cid):
                    return data
        return None

    def _fetch(self, name: str, cid: Cid, limit: int) -> bytes:
        try:
            return self._rpc.cat(cid, limit)
        except Endless as error:
            raise TooLarge(f"{name} in store {self._name} is larger than any object of ours: {error}") from error
        except NodeError as error:
            if error.is_lost:
                raise ObjectMissing(
                    f"store {self._name} has no bytes of {name}: {error.said}", LOOK_WHO_NEEDS_IT
                ) from error
            raise

    def _list(self, folder: str, beginning: str) -> Iterator[Stored]:
        """Folder by folder, those of one level at once; *folder* is empty, or ends in `/`."""
        with ThreadPoolExecutor(_AT_ONCE, "list") as pool:
            first = [name for name in self._names(folder) or () if name.startswith(beginning)]
            waiting: Mapping[str, Sequence[str]] = {folder: first}
            while waiting:
                for each, found in waiting.items():
                    for entry in newest(found):
                        yield Stored(each + entry.segment, entry.size, float(entry.seconds))
                below = [f"{each}{name}/" for each, found in waiting.items() for name in found if is_name(each + name)]
                waiting = dict(zip(below, pool.map(self._names_below, below), strict=True))

    def _names_below(self, folder: str) -> Sequence[str]:
        """Of a folder, or of a stranger's file: its listing names the file itself, and it holds nothing of ours."""
        names = self._names(folder)
        if names is None:
            raise StoreUnreachable(f"store {self._name} cannot be listed: {folder} went away meanwhile")
        own = folder.rstrip("/").rpartition("/")[2]
        if list(names) == [own] and not self._rpc.is_folder(f"{self._root}/{folder}".rstrip("/")):
            return ()
        return names

    # Names

    def _entries(self, name: str) -> Sequence[Entry]:
        """All that have this name, the one that counts first."""
        folder, _, segment = name.rpartition("/")
        return of_name(segment, self._names(folder) or ())

    def _names(self, folder: str) -> Sequence[str] | None:
        """What stands in a folder below the root; None where there is none. Raises `Refused` where there is no root."""
        try:
            return self._rpc.names(f"{self._root}/{folder}".rstrip("/"))
        except NodeError as error:
            if not error.is_missing:
                raise
        try:
            self._rpc.is_folder(self._root)
        except NodeError as error:
            if error.is_missing:
                raise Refused(
                    f"store {self._name}: the IPFS node {self._rpc.host} has no folder {self._root}",
                    "is it the right node, and has it lost what it had?",
                ) from error
            raise
        return None

    def _split(self, name: str) -> tuple[str, str]:
        """The folder in MFS, and what its entry begins with."""
        folder, _, segment = name.rpartition("/")
        return f"{self._root}/{folder}".rstrip("/"), segment

    def _missing(self, name: str) -> ObjectMissing:
        return ObjectMissing(f"store {self._name} has no {name}", LOOK_WHO_NEEDS_IT)
