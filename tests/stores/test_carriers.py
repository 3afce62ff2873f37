"""Several gateways as one: who is asked first, who is asked last, and what is told when nobody gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import pytest

from dwebbackup.errors import Damaged, DwebbackupError, ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.links.unixfs import V1_2025, cid_of
from dwebbackup.ports import Carrier
from dwebbackup.stores import Busy, Refused
from dwebbackup.stores.carriers import LONGEST_REST, REST, Carriers
from dwebbackup.stores.ipfs.gateway import Gateway
from links.trees import Blocks, tree
from stores.blocks_server import CAR, BlocksServer, Said, blocks_server
from stores.front import front, nobody, response

LINK = "ipfs://a"
UNREACHABLE, MISSING, WRONG = StoreUnreachable("silent", "wait"), ObjectMissing("not here"), Damaged("wrong bytes")
REFUSED, BUSY = Refused("no"), Busy("later", "", 600)


class Time:
    """Passes when somebody says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """Gives its name, or does what it is told to, and takes its time."""

    def __init__(self, name: str, log: list[str], time: Time, seconds: float = 1.0, kind: str = "ipfs://") -> None:
        self.name, self.error, self.seconds = name, None, seconds
        self._log, self._time, self._kind = log, time, kind

    error: DwebbackupError | None

    def carries(self, link: str) -> bool:
        return link.startswith(self._kind)

    def fetch(self, link: str) -> bytes:
        self._log.append(self.name)
        self._time.now += self.seconds
        if self.error:
            raise self.error
        return self.name.encode()


class Several:
    """Carriers `a`, `b`, `c` and so on, that take so many seconds each."""

    def __init__(self, *seconds: float) -> None:
        self.time, self.log = Time(), []
        self.each = [Scripted("abcdef"[at], self.log, self.time, taken) for at, taken in enumerate(seconds)]
        self.one: Carrier = Carriers(self.each, monotonic=self.time)

    def asked(self, times: int = 1) -> str:
        """Who, in order; each time somebody gives it."""
        self.log.clear()
        for _ in range(times):
            self.one.fetch(LINK)
        return "".join(self.log)

    def failure(self, *errors: DwebbackupError | None) -> DwebbackupError:
        for carrier, error in zip(self.each, errors, strict=True):
            carrier.error = error
        with pytest.raises(DwebbackupError) as caught:
            self.one.fetch(LINK)
        return caught.value


class TestOrder:
    def test_each_is_tried_once_and_then_the_fastest_is_asked(self):
        several = Several(3, 1, 2)
        assert several.asked(6) == "abcbbb"

    def test_one_that_becomes_slow_is_left_for_the_next(self):
        several = Several(3, 1, 2)
        several.asked(3)
        several.each[1].seconds = 10
        assert several.asked(3) == "bcc"

    def test_one_slow_answer_among_quick_ones_changes_nothing(self):
        several = Several(1, 2)
        several.asked(5)
        several.each[0].seconds = 4
        assert several.asked() == "a"
        several.each[0].seconds = 1
        assert several.asked(3) == "aaa"

    def test_one_that_fails_is_asked_last_until_it_has_rested(self):
        several = Several(1, 2)
        several.each[0].error = UNREACHABLE
        assert several.asked() == "ab"
        several.each[0].error = None
        assert several.asked(3) == "bbb"
        several.time.now += REST
        assert several.asked(2) == "aa"

    def test_the_more_often_it_fails_the_longer(self):
        several = Several(0, 2)
        several.each[0].error = WRONG
        for times in range(9):
            assert several.asked() == "ab"
            several.time.now += min(LONGEST_REST, REST * 2**times) - 5  # `b` has taken two of them
            assert several.asked() == "b"
            several.time.now += 1

    def test_one_that_says_when_it_wants_to_be_asked_again_is_left_alone_so_long(self):
        several = Several(0, 2)
        several.each[0].error = BUSY
        assert several.asked() == "ab"
        several.time.now += 500
        assert several.asked() == "b"
        several.time.now += 100
        assert several.asked() == "ab"

    def test_one_that_lacks_things_is_asked_after_those_that_have_them(self):
        several = Several(0.1, 5)
        several.each[0].error = MISSING
        assert several.asked(3) == "abbb"
        several.each[1].error = MISSING
        several.each[0].error = None
        assert several.asked(2) == "baa"

    def test_all_that_failed_are_asked_again_all_the_same(self):
        several = Several(1, 2)
        several.failure(UNREACHABLE, WRONG)
        several.each[1].error = None
        assert several.asked() == "ab"

    def test_only_those_who_know_the_kind_of_link_are_asked(self):
        log: list[str] = []
        other = Scripted("sia", log, Time(), kind="sia://")
        one = Carriers([other, Scripted("a", log, Time())])
        assert one.carries("sia://x")
        assert not one.carries("file:///x")
        assert one.fetch(LINK) == b"a"
        assert log == ["a"]


class TestWhenNobodyGivesIt:
    @pytest.mark.parametrize(
        ("errors", "kind"),
        [
            ((MISSING, MISSING), ObjectMissing),
            ((MISSING, WRONG), Damaged),
            ((WRONG, WRONG), Damaged),
            ((MISSING, UNREACHABLE), StoreUnreachable),
            ((WRONG, UNREACHABLE), StoreUnreachable),
            ((REFUSED, UNREACHABLE), StoreUnreachable),
            ((BUSY, MISSING), StoreUnreachable),
            ((REFUSED, MISSING), Refused),
            ((REFUSED, REFUSED), Refused),
        ],
    )
    def test_a_single_no_is_never_the_answer_of_all(
        self, errors: tuple[DwebbackupError, ...], kind: type[DwebbackupError]
    ):
        for order in (errors, errors[::-1]):
            assert type(Several(1, 1).failure(*order)) is kind

    def test_everybody_was_asked_and_it_is_said_what_they_said(self):
        several = Several(1, 1, 1)
        error = several.failure(MISSING, UNREACHABLE, WRONG)
        assert str(error) == "nobody gives ipfs://a now. a: not here; b: silent; c: wrong bytes"
        assert error.hint == "wait"
        assert several.log == ["a", "b", "c"]

    def test_one_alone_says_it_itself(self):
        assert Several(1).failure(UNREACHABLE) is UNREACHABLE

    def test_a_link_that_nobody_knows_is_a_matter_of_configuration(self):
        with pytest.raises(WrongConfiguration, match="nobody is configured who fetches sia://x"):
            Several(1).one.fetch("sia://x")

    def test_a_link_that_is_none_is_told_at_once(self):
        several = Several(1, 1)
        typo = WrongConfiguration("typo")
        assert several.failure(typo, None) is typo
        assert several.log == ["a"]


def test_threads_do_not_lose_what_others_learn():
    barrier = threading.Barrier(8)

    class Slow(Scripted):
        def fetch(self, link: str) -> bytes:
            barrier.wait(60)
            return super().fetch(link)

    log: list[str] = []
    one = Carriers([Slow("a", log, Time())])
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one.fetch, [LINK] * 80)) == [b"a"] * 80
    assert len(log) == 80


def test_a_file_is_found_behind_every_kind_of_bad_gateway():
    data = Random(1).randbytes(3_000_000)
    root, blocks = tree(data, V1_2025)
    files: dict[str, Blocks] = {root.text: blocks}
    with ExitStack() as stack:

        def serving(answer: Callable[[BlocksServer, str, str], Said | None]) -> str:
            return stack.enter_context(blocks_server(files, answer)).url

        def fronting(answer: bytes) -> str:
            return stack.enter_context(front(answer)).url

        other = serving(lambda server, cid, form: None)
        urls = [
            stack.enter_context(nobody()),
            fronting(response(404)),
            fronting(response(504)),
            fronting(response(429, Retry_After="600")),
            fronting(response(200, b"<html>", Content_Type="text/html")),
            fronting(response(301, Location=f"{other}/ipfs/{root.text}")),
            fronting(response(200, b"x", Content_Type=CAR, Content_Length=str(5 << 30))),
            serving(lambda server, cid, form: (200, {"Content-Type": CAR}, b"\0" * 100)),
            serving(lambda server, cid, form: (200, {}, bytes(3_000_000))),
        ]
        carriers = Carriers([Gateway(url) for url in [*urls, other]])
        assert carriers.fetch(f"ipfs://{cid_of(data).text}") == data
        assert carriers.fetch(f"ipfs://{cid_of(data).text}") == data  # now from the good one at once
