"""What every store promises: sub-class `StoreContract` in the store's test file, with a fixture `store`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dwebbackup import stores
from dwebbackup.errors import Damaged, ObjectMissing, StoreUnreachable
from dwebbackup.ports import Store, Stored

MIB = 1 << 20

BAD_NAMES = [
    "",
    "/",
    "/w/1/head.json",
    "w/1/",
    "w//head.json",
    ".",
    "..",
    "w/../head.json",
    "w/./head.json",
    "w/..",
    "w/a..b",
    ".hidden",
    "w/.hidden/a",
    "W/1/HEAD.JSON",
    "w/a b",
    "w/a\n",
    "w/a\0",
    "w\\a",
    "w/ä",
    "w/%2e%2e/a",
    "w/a?b",
    "w/" + "a" * 256,
    "w/" + "a/" * 600 + "a",
]
BAD_PREFIXES = ["/", "/w", "w//", "..", "w/../", "w/..", "w/.", "W/", "w/ä", "w/*", "w/a\n"]


class StoreContract:
    """The tests. The store that the fixture gives is empty, this test's own, and lists and deletes.

    Not asked for: an object beside another of whose name it is a folder (`foo` and `foo/bar`), which a file
    system cannot have; and no such names are ever used.
    """

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError("the sub-class gives an empty store")

    def test_gives_back_exactly_what_was_put(self, store: Store):
        every_byte = bytes(range(256)) + b"\r\n\n\r\0\x1a\xef\xbb\xbf" + bytes(reversed(range(256)))
        store.put("w/1/packs/ab/abc.age", every_byte)
        given = store.get("w/1/packs/ab/abc.age")
        assert type(given) is bytes
        assert given == every_byte

    @pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1])
    def test_keeps_any_size(self, store: Store, size: int):
        data = noise(size)
        store.put("w/1/packs/ab/abc.age", data)
        assert store.get("w/1/packs/ab/abc.age") == data
        assert store.head("w/1/packs/ab/abc.age").size == size
        assert [found.size for found in store.list("w/1/packs/")] == [size]

    def test_a_second_put_replaces_the_first(self, store: Store):
        for data in (noise(70_000), b"short", b"", noise(70_001)):
            store.put("w/1/head.json", data)
            assert store.get("w/1/head.json") == data
            assert [(found.name, found.size) for found in store.list("")] == [("w/1/head.json", len(data))]

    def test_a_put_may_be_repeated(self, store: Store):
        assert store.put("w/1/head.json", b"same") == store.put("w/1/head.json", b"same")
        assert store.get("w/1/head.json") == b"same"
        assert names(store.list("")) == ["w/1/head.json"]

    def test_gives_links(self, store: Store):
        for name in ("w/1/head.json", "w/1/packs/ab/abc.age"):
            links = store.put(name, b"linked")
            assert isinstance(links, tuple)
            assert links
            assert all(isinstance(link, str) and "://" in link for link in links)

    def test_objects_do_not_share_links(self, store: Store):
        assert not set(store.put("w/1/a", b"one")) & set(store.put("w/1/b", b"another"))

    def test_says_who_and_where_it_is(self, store: Store):
        assert store.name
        assert "://" in store.url
        assert store.traits.lists
        assert store.traits.deletes

    def test_head_tells_name_size_and_age(self, store: Store):
        store.put("w/1/first", b"123")
        store.put("w/1/second", b"12345")
        first, second = store.head("w/1/first"), store.head("w/1/second")
        assert (first.name, first.size) == ("w/1/first", 3)
        assert (second.name, second.size) == ("w/1/second", 5)
        assert first.modified <= second.modified <= first.modified + 3600

    def test_listing_and_head_agree(self, store: Store):
        store.put("w/1/indexes/a.age", b"123")
        assert list(store.list("w/1/indexes/")) == [store.head("w/1/indexes/a.age")]

    def test_a_put_makes_it_younger(self, store: Store):
        store.put("w/1/checkpoint", b"1")
        before = store.head("w/1/checkpoint").modified
        store.put("w/1/checkpoint", b"1")
        assert store.head("w/1/checkpoint").modified >= before

    @pytest.mark.parametrize("name", ["nothing", "w/1/head.json", "w/1/packs/ab/missing.age", "w/1/packs/ab/there"])
    def test_what_is_missing_is_said_to_be_missing(self, store: Store, name: str):
        store.put("w/1/packs/ab/there.age", b"there")  # a name that begins with what is asked for
        with pytest.raises(ObjectMissing):
            store.get(name)
        with pytest.raises(ObjectMissing):
            store.head(name)

    @pytest.mark.parametrize("name", ["w", "w/1", "w/1/packs", "w/1/packs/ab/there.age/below"])
    def test_a_folder_is_no_object(self, store: Store, name: str):
        store.put("w/1/packs/ab/there.age", b"there")
        with pytest.raises(ObjectMissing):
            store.get(name)
        with pytest.raises(ObjectMissing):
            store.head(name)

    def test_what_is_too_large_to_be_ours_is_damaged(self, store: Store, monkeypatch: pytest.MonkeyPatch):
        store.put("w/1/ours", noise(100_000))
        store.put("w/1/a-strangers", noise(100_001))
        monkeypatch.setattr(stores, "LARGEST", 100_000)
        assert store.get("w/1/ours") == noise(100_000)
        with pytest.raises(Damaged, match="larger than any object of ours"):  # which those who pass over junk expect
            store.get("w/1/a-strangers")
        assert store.head("w/1/a-strangers").size == 100_001

    def test_what_was_deleted_is_gone(self, store: Store):
        store.put("w/1/a", b"a")
        store.put("w/1/b", b"b")
        store.delete("w/1/a")
        with pytest.raises(ObjectMissing):
            store.get("w/1/a")
        with pytest.raises(ObjectMissing):
            store.head("w/1/a")
        assert names(store.list("")) == ["w/1/b"]
        assert store.get("w/1/b") == b"b"

    def test_may_be_deleted_twice_and_put_again(self, store: Store):
        store.put("w/1/a", b"old")
        for _ in range(2):
            store.delete("w/1/a")
        store.delete("w/1/no/such/folder")
        store.put("w/1/a", b"new")
        assert store.get("w/1/a") == b"new"

    def test_lists_by_any_prefix(self, store: Store):
        kept = [
            "probe",
            "w/1/head.json",
            "w/1/packs/ab/abc.age",
            "w/1/packs/ab/abd.age",
            "w/1/packs/ac/ac1.age",
        ]
        kept += ["w/1/packs-old/x", "w/12/head.json", "w/2/packs/ab/abc.age"]
        for name in kept:
            store.put(name, name.encode())
        prefixes = {name[:length] for name in kept for length in range(len(name) + 1)}
        prefixes |= {"x", "w/3/", "w/1/packs/ab/abc.age.", "w/1/packs/ab/abc.age/", "w/1/head.json/below"}
        for prefix in prefixes:
            expected = sorted(name for name in kept if name.startswith(prefix))
            assert names(store.list(prefix)) == expected, prefix

    def test_an_empty_listing_is_an_answer(self, store: Store):
        store.put("w/1/a", b"a")
        store.delete("w/1/a")
        assert list(store.list("")) == []
        assert list(store.list("w/1/packs/")) == []

    @pytest.fixture
    def many(self) -> int:
        """Objects in one folder: more than the 1000 keys of an S3 page."""
        return 1024

    def test_lists_completely(self, store: Store, many: int):
        kept = [f"w/{n % 3}/packs/{n % 17:02x}/{n:04d}.age" for n in range(100)]
        kept += [f"w/3/packs/aa/{n:04d}.age" for n in range(many)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: store.put(name, name.encode()), kept))
        assert names(store.list("")) == sorted(kept)
        assert names(store.list("w/3/")) == kept[100:]
        assert names(store.list("w/3/packs/aa/00")) == kept[100:200]
        assert names(store.list("w/1")) == sorted(name for name in kept if name.startswith("w/1"))
        assert {found.size for found in store.list("w/3/")} == {len("w/3/packs/aa/0000.age")}

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_refuses_what_is_no_name(self, store: Store, name: str):
        store.put("w/1/a", b"a")
        asks: list[Callable[[], object]] = [
            lambda: store.put(name, b"bad"),
            lambda: store.get(name),
            lambda: store.head(name),
            lambda: store.delete(name),
        ]
        for ask in asks:
            with pytest.raises(StoreUnreachable):
                ask()
        assert names(store.list("")) == ["w/1/a"]

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_refuses_what_is_no_prefix(self, store: Store, prefix: str):
        store.put("w/1/a", b"a")
        with pytest.raises(StoreUnreachable):
            list(store.list(prefix))

    def test_many_threads_with_names_of_their_own(self, store: Store):
        def work(number: int) -> None:
            for turn in range(6):
                name, data = (
                    f"w/1/packs/{turn:02x}/{number}-{turn}.age",
                    noise(100_000, seed=number * 100 + turn),
                )
                store.put(name, data)
                assert store.get(name) == data
                assert store.head(name).size == len(data)
                if turn % 2:
                    store.delete(name)

        in_eight_threads(work)
        kept = sorted(f"w/1/packs/{turn:02x}/{number}-{turn}.age" for number in range(8) for turn in (0, 2, 4))
        assert names(store.list("w/1/packs/")) == kept

    def test_many_threads_with_one_name(self, store: Store):
        versions = {digest(data): data for data in (noise(50_000 * (n + 1), seed=n) for n in range(8))}
        in_order = list(versions.values())
        store.put("w/1/head.json", in_order[0])

        def work(number: int) -> None:
            for _ in range(6):
                store.put("w/1/head.json", in_order[number])
                assert digest(store.get("w/1/head.json")) in versions
                sizes = {len(data) for data in in_order}
                assert store.head("w/1/head.json").size in sizes
                assert {found.size for found in store.list("w/1/")} <= sizes

        in_eight_threads(work)
        assert digest(store.get("w/1/head.json")) in versions
        assert names(store.list("")) == ["w/1/head.json"]


def names(found: Iterable[Stored]) -> list[str]:
    """Sorted, and with what is listed twice standing there twice."""
    return sorted(each.name for each in found)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that look random and are always the same; no two seeds share any."""
    return hashlib.shake_128(f"noise {seed}".encode()).digest(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def in_eight_threads(work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
