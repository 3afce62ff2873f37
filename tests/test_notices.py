"""Telling never waits, never tells twice, and never gives a secret away."""

from __future__ import annotations

import io
import json
import queue
import socket
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import pytest
import tenacity

from dwebbackup.keys import OwnerKey
from dwebbackup.report import redaction
from dwebbackup.report.notices import Channel, Deduplication, NotDelivered, Notice, Notifier, parse_channel
from web_server import Answer, WebServer

pytestmark = pytest.mark.usefixtures("no_proxies", "nothing_hidden", "log_lines")

FAILURE = Notice("failure", "app", "the store s3 did not answer", "look at it", 1e9)
RECOVERY = Notice("recovery", "app", "backup 7 is stored")
DAY = 24 * 3600.0


def webhook(server: WebServer) -> Channel:
    return parse_channel(f"json+http://{server.place}/hook")


def monitor(server: WebServer) -> Channel:
    return parse_channel(f"ping+http://{server.place}/0b1f9c4e")


def numbered(number: int) -> Notice:
    """All of them different: numbers in a sentence would not make them so."""
    return replace(FAILURE, source=f"app{number}")


def wait_until(condition: Callable[[], bool]) -> None:
    tenacity.retry(
        retry=tenacity.retry_if_result(lambda met: not met),
        stop=tenacity.stop_after_delay(60),
        wait=tenacity.wait_fixed(0.01),
    )(condition)()


def sources(server: WebServer) -> list[str]:
    return [json.loads(heard.body)["source"] for heard in server.rest()]


# ---- what is news ----


def test_the_same_trouble_is_told_once_and_again_after_a_day():
    told = Deduplication()
    assert told.is_news(FAILURE, 0)
    assert not told.is_news(FAILURE, 1)
    assert not told.is_news(FAILURE, DAY - 1)
    assert told.is_news(FAILURE, DAY)
    assert not told.is_news(FAILURE, 2 * DAY - 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no answer for 3 min 5 s, 1.5 GiB left", "no answer for 12 s, 900 MiB left"),
        ("pack ab12cd34ef is missing", "pack 9fe0c1d2ab is missing"),
        ("backup 41 is too old: 2026-11-20T03:00:00Z", "backup 42 is too old: 2026-11-21T09:30:00Z"),
        ("it holds 31% of the rows", "it holds 7% of the rows"),
    ],
)
def test_other_numbers_do_not_make_another_trouble(one: str, other: str):
    told = Deduplication()
    assert told.is_news(replace(FAILURE, sentence=one), 0)
    assert not told.is_news(replace(FAILURE, sentence=other), 1)


@pytest.mark.parametrize(
    "change", [{"sentence": "the store s3 refused"}, {"source": "shop"}, {"event": "stale"}, {"event": "alarm"}]
)
def test_another_event_source_or_sentence_is_another_trouble(change: dict[str, str]):
    told = Deduplication()
    assert told.is_news(FAILURE, 0)
    assert told.is_news(replace(FAILURE, **change), 0)


@pytest.mark.parametrize("event", ["failure", "stale", "alarm"])
def test_a_recovery_is_news_once_and_only_after_trouble_of_that_source(event: str):
    told = Deduplication()
    assert not told.is_news(RECOVERY, 0)
    assert told.is_news(replace(FAILURE, event=event), 0)
    assert not told.is_news(replace(RECOVERY, source="shop"), 0)
    assert told.is_news(RECOVERY, 0)
    assert not told.is_news(RECOVERY, 0)


def test_trouble_that_comes_back_after_a_recovery_is_news():
    told = Deduplication()
    assert [told.is_news(each, 0) for each in (FAILURE, RECOVERY, FAILURE)] == [True, True, True]


@pytest.mark.parametrize("event", ["suspect", "floor"])
def test_a_recovery_ends_neither_a_suspect_backup_nor_a_floor(event: str):
    told = Deduplication()
    notice = replace(FAILURE, event=event)
    assert told.is_news(notice, 0)
    assert not told.is_news(RECOVERY, 1)
    assert not told.is_news(notice, 2)


def test_trouble_that_did_not_arrive_is_news_the_next_time():
    told = Deduplication()
    assert told.is_news(FAILURE, 0)
    told.forget(FAILURE)
    assert not told.is_news(RECOVERY, 1)
    assert told.is_news(FAILURE, 2)


def test_what_was_told_does_not_fill_the_memory():
    told = Deduplication()
    assert all(told.is_news(numbered(number), 0) for number in range(1001))
    assert not told.is_news(numbered(1), 0)
    assert told.is_news(numbered(0), 0)


# ---- who hears what ----


def test_monitors_hear_of_every_run_and_people_of_what_they_should_look_at():
    with WebServer() as people, WebServer() as monitors:
        notifier = Notifier([webhook(people), monitor(monitors)])
        for event in ("start", "success", "start", "failure", "stale", "suspect", "floor", "alarm", "recovery"):
            notifier.tell(replace(FAILURE, event=event))
        notifier.close(60)
        events = [json.loads(heard.body)["event"] for heard in people.rest()]
        assert events == ["failure", "stale", "suspect", "floor", "alarm", "recovery"]
        ways = [heard.path.partition("?")[0].removeprefix("/0b1f9c4e") for heard in monitors.rest()]
        assert ways == ["/start", "", "/start", "/fail"]
    assert notifier.failures == 0


def test_people_hear_once_of_what_goes_on_and_monitors_each_time():
    with WebServer() as people, WebServer() as monitors:
        notifier = Notifier([webhook(people), monitor(monitors)])
        for _ in range(3):
            notifier.tell(FAILURE)
        notifier.close(60)
        assert len(people.rest()) == 1
        assert len(monitors.rest()) == 3


def test_a_start_and_what_came_of_it_share_an_id_and_runs_do_not():
    with WebServer() as monitors:
        notifier = Notifier([monitor(monitors)])
        for event, source in [
            ("start", "app"),
            ("start", "shop"),
            ("success", "app"),
            ("failure", "shop"),
            ("start", "app"),
            ("recovery", "app"),
            ("success", "app"),
            ("success", "app"),
        ]:
            notifier.tell(replace(FAILURE, event=event, source=source))
        notifier.close(60)
        runs = [heard.path.partition("?rid=")[2] for heard in monitors.rest()]
    app, shop, app_again, after = runs[0], runs[1], runs[4], runs[6]
    assert runs == [app, shop, app, shop, app_again, app_again, ""]
    assert len({app, shop, app_again}) == 3
    assert after == ""


def test_who_stays_when_channels_change_remembers_what_he_was_told():
    with WebServer() as stays, WebServer() as goes, WebServer() as comes:
        notifier = Notifier([webhook(goes), webhook(stays)])
        notifier.tell(FAILURE)
        notifier.change([webhook(stays), webhook(comes)])
        for notice in (FAILURE, RECOVERY):
            notifier.tell(notice)
        notifier.close(60)
        events = [[json.loads(each.body)["event"] for each in server.rest()] for server in (goes, stays, comes)]
    assert events == [["failure"], ["failure", "recovery"], ["failure", "recovery"]]


def test_what_failed_still_counts_when_channels_change():
    with WebServer(Answer(404)) as server:
        notifier = Notifier([webhook(server)])
        notifier.tell(FAILURE)
        notifier.change([])
        notifier.close(60)
    assert notifier.failures == 1


# ---- servers that do not do what they should ----


def test_telling_does_not_wait_for_a_server_that_hangs():
    with WebServer() as hanging, WebServer() as well:
        hanging.hold()
        notifier = Notifier([webhook(hanging), webhook(well)])
        notifier.tell(numbered(0))
        hanging.next()  # it has the first, and will not answer before it is told to
        for number in range(1, 50):
            notifier.tell(numbered(number))
        assert [json.loads(well.next().body)["source"] for _ in range(50)] == [f"app{n}" for n in range(50)]
        hanging.release()
        notifier.close(60)
        assert sources(hanging) == [f"app{number}" for number in range(1, 50)]


def test_the_oldest_that_waits_makes_room_and_that_is_logged_and_counted(log_lines: io.StringIO):
    with WebServer() as hanging:
        hanging.hold()
        notifier = Notifier([webhook(hanging)])
        notifier.tell(numbered(0))
        hanging.next()
        for number in range(1, 104):
            notifier.tell(numbered(number))
        assert notifier.failures == 3
        hanging.release()
        notifier.close(60)
        assert sources(hanging) == [f"app{number}" for number in range(4, 104)]
    assert log_lines.getvalue().count("too many are waiting") == 3


def test_what_made_room_is_news_again():
    with WebServer() as hanging:
        hanging.hold()
        notifier = Notifier([webhook(hanging)])
        notifier.tell(numbered(0))
        hanging.next()
        for number in [*range(1, 102), 1]:
            notifier.tell(numbered(number))
        hanging.release()
        notifier.close(60)
        assert sources(hanging)[-1] == "app1"


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(status: int):
    with WebServer(Answer(status), Answer(status), Answer(200)) as server:
        notifier = Notifier([webhook(server)], first_wait=0.001)
        notifier.tell(FAILURE)
        bodies = {server.next().body for _ in range(3)}
        notifier.close(60)
        assert len(bodies) == 1
        assert server.rest() == []
    assert notifier.failures == 0


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 302, 307, 308])
def test_a_server_that_says_no_is_not_asked_again(status: int, log_lines: io.StringIO):
    with WebServer() as elsewhere, WebServer(Answer(status, {"Location": f"http://{elsewhere.place}/"})) as server:
        notifier = Notifier([webhook(server)], first_wait=0.001)
        notifier.tell(FAILURE)
        notifier.tell(numbered(2))
        server.next()
        assert json.loads(server.next().body)["source"] == "app2"
        notifier.close(60)
        assert elsewhere.rest() == []
        assert server.rest() == []
    assert notifier.failures == 2
    assert f"({status})" in log_lines.getvalue() or f"it answered {status}" in log_lines.getvalue()


def test_a_server_that_refuses_connections_is_logged_as_that(log_lines: io.StringIO):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        notifier = Notifier([parse_channel(f"json+http://127.0.0.1:{deaf.getsockname()[1]}/")], first_wait=0.001)
        notifier.tell(FAILURE)
        notifier.close(60)
    assert notifier.failures == 1
    assert "a notice was not delivered" in log_lines.getvalue()
    assert "it cannot be reached: Connection refused" in log_lines.getvalue()


def test_a_notice_is_given_up_after_an_hour_and_its_like_is_news_then():
    now = [0.0]
    attempts: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Dead:
        called = "a dead one"
        audience = "people"

        def send(self, notice: Notice) -> None:
            attempts.put(notice.source)
            now[0] += 700
            raise NotDelivered("nobody there", again=True)

    notifier = Notifier([Dead()], first_wait=0.001, monotonic=lambda: now[0])
    for _ in range(2):
        notifier.tell(FAILURE)
        assert [attempts.get(timeout=60) for _ in range(6)] == ["app"] * 6
        wait_until(lambda: now[0] % 4200 == 0 and notifier.failures == now[0] / 4200)
    notifier.close(60)
    assert attempts.empty()


def test_closing_waits_no_longer_than_it_was_told_and_counts_what_is_left(log_lines: io.StringIO):
    with WebServer() as hanging:
        hanging.hold()
        notifier = Notifier([webhook(hanging)])
        for number in range(3):
            notifier.tell(numbered(number))
        hanging.next()
        notifier.close(0)
        assert notifier.failures == 3
        notifier.tell(numbered(4))
        assert notifier.failures == 4
        hanging.release()
    assert '"notices": 3' in log_lines.getvalue()
    assert "we are about to stop" in log_lines.getvalue()


def test_what_a_server_asked_to_wait_for_waits_until_closing_tries_at_once(log_lines: io.StringIO):
    with WebServer(Answer(503, {"Retry-After": "300"}), Answer(200)) as server:
        notifier = Notifier([webhook(server)])
        notifier.tell(FAILURE)
        wait_until(lambda: "trying again" in log_lines.getvalue())
        assert len(server.rest()) == 1
        notifier.close(60)
        assert len(server.rest()) == 1
    assert notifier.failures == 0


def test_a_fault_of_ours_in_a_channel_ends_neither_the_thread_nor_the_program(log_lines: io.StringIO):
    sent = []

    class Faulty:
        called = "a faulty one"
        audience = "people"

        def send(self, notice: Notice) -> None:
            if notice.source == "app0":
                raise LookupError("hunter2")
            sent.append(notice.source)

    notifier = Notifier([Faulty()])
    notifier.tell(numbered(0))
    notifier.tell(numbered(1))
    notifier.close(60)
    assert sent == ["app1"]
    assert notifier.failures == 1
    assert "LookupError in " in log_lines.getvalue()
    assert "hunter2" not in log_lines.getvalue()


# ---- secrets ----


def test_no_secret_is_in_any_message_or_log_line(log_lines: io.StringIO):
    words = OwnerKey(bytes(range(32))).words.split()
    redaction.hide("correct horse")
    notice = Notice(
        "failure",
        "app",
        "postgresql://u:hunter2@h/d does not answer; correct horse",
        "dwbw1qqqqqqqqqqqqqqqq is wrong",
        1e9,
        (("password=swordfish", "correct%20horse"),),
        tuple(words),
    )
    secrets = ["hunter2", "correct horse", "correct%20horse", "qqqqqqqq", "swordfish", words[3]]
    with WebServer(Answer(500)) as people, WebServer(Answer(500)) as monitors:
        notifier = Notifier([webhook(people), monitor(monitors)])
        notifier.tell(notice)
        heard = [people.next(), monitors.next()]
        notifier.close(60)
        heard += people.rest() + monitors.rest()
    seen = b"".join(each.body for each in heard).decode() + log_lines.getvalue()
    assert "does not answer" in seen
    assert "a notice was not delivered" in seen
    assert [secret for secret in secrets if secret in seen] == []


def test_what_is_hidden_is_hidden_however_it_is_written():
    secret = 'pä"ss/w:rd'
    redaction.hide(secret)
    for written in (secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")):
        assert redaction.redact(f"it is {written} here") == "it is *** here"


def test_somebodys_secret_that_is_a_common_word_blinds_no_mask():
    redaction.hide("password")
    assert "hunter2" not in redaction.redact("host=h password=hunter2")


def test_an_address_is_seen_by_its_server_alone(log_lines: io.StringIO):
    secrets = ["T0K3NT0K3N", "also-secret-1", "deadbeef01"]
    with WebServer(Answer(500, {"broken header": "x"})) as server:
        url = f"json+http://me:{secrets[1]}@{server.place}/services/{secrets[0]}?key={secrets[2]}"
        channel = parse_channel(url)
        notifier = Notifier([channel])
        notifier.tell(replace(FAILURE, sentence=f"somebody wrote {url} here, or /services/{secrets[0]}"))
        heard = [server.next()]
        notifier.close(60)
        heard += server.rest()
    seen = b"".join(each.body for each in heard).decode() + log_lines.getvalue() + repr(channel) + channel.called
    assert "somebody wrote json+http://me:***@" in seen
    assert [secret for secret in secrets if secret in seen] == []
    assert {each.path for each in heard} == {f"/services/{secrets[0]}?key={secrets[2]}"}
    assert all(each.headers["Authorization"].startswith("Basic ") for each in heard)
