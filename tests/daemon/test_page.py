"""The status page as requests get it: who comes in, what each door says, and what never stands in an answer."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from daemon.statuses import (
    ALARM,
    EMPTY,
    EVERY,
    HOSTILE,
    HOUR,
    NASTY,
    NOT_CONFIGURED,
    NOW,
    OVERDUE,
    RESTORED,
    RESTORING,
    SUSPECT,
    TWO_HISTORIES,
    WAITING,
    WELL,
    history,
    made,
    source,
    status,
)
from dwebbackup.config import survey
from dwebbackup.daemon.chart import chart
from dwebbackup.daemon.histories import histories
from dwebbackup.daemon.journal import problem
from dwebbackup.daemon.moments import about, from_now
from dwebbackup.daemon.page import Page
from dwebbackup.daemon.status import Made, Moving, Problem, Status
from dwebbackup.daemon.summary import headline
from dwebbackup.daemon.visitors import Visitors
from dwebbackup.report import log

TOKEN = "a long rändom word"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


def ask(
    about: Status | Callable[[], Status] = WELL, path: str = "/", method: str = "GET", token: str = TOKEN, **more: str
) -> Answer:
    """What a page with *token* answers to somebody without; *more*: what a server makes of further headers."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start(line, headers, exc_info=None):
        begun.append((line, headers))
        return io.BytesIO().write

    path, _, query = path.partition("?")
    environ = {"SCRIPT_NAME": "", "PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": query, **more}
    setup_testing_defaults(environ)
    application = validator(Page(about if callable(about) else lambda: about, token))
    body = application(environ, start)
    text = b"".join(body).decode()
    body.close()
    (line, headers) = begun[0]
    return Answer(int(line.split()[0]), dict(headers), text)


def bearer(token: str = TOKEN) -> dict[str, str]:
    """A header as servers hand it over: its bytes, as Latin-1."""
    return {"HTTP_AUTHORIZATION": f"Bearer {token}".encode().decode("latin-1")}


def page(about: Status) -> str:
    answer = ask(about, **bearer())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    return answer.text


def words(about: Status) -> str:
    """What can be read on the page."""
    text = re.sub(r"(?s)</?code[^>]*>", "", page(about))
    text = re.sub(r"(?s)<style>.*?</style>|<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", text)


# Health: for anybody


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("well", 200, "ok"),
        ("suspect", 200, "ok"),
        ("restoring", 200, "ok"),
        ("empty", 503, "no backup yet"),
        ("overdue", 503, "the newest good backup is older than its schedule allows"),
        ("alarm", 503, "alarm: see the status page"),
        ("waiting", 503, "waiting"),
        ("not configured", 503, "alarm: see the status page"),
    ],
)
def test_health_is_freshness_and_needs_no_token(name, code, said):
    for token in (TOKEN, ""):
        answer = ask(EVERY[name], "/healthz", token=token)
        assert (answer.status, answer.text) == (code, f"{said}\n")


def test_one_stale_database_among_fresh_ones_is_unhealthy():
    stale = replace(OVERDUE.sources[0], name="blog")
    assert ask(status(*WELL.sources, stale), "/healthz").status == 503
    assert ask(status(*WELL.sources, replace(WELL.sources[0], name="blog")), "/healthz").status == 200


def test_a_database_that_is_restored_for_the_first_time_is_unhealthy_until_it_is_there():
    answer = ask(status(source((), phase="restoring")), "/healthz")
    assert (answer.status, answer.text) == (503, "restoring\n")


@pytest.mark.parametrize("name", EVERY)
def test_strangers_learn_no_name_no_version_and_no_number(name):
    for path in ("/healthz", "/", "/metrics", "/nothing"):
        for token in (TOKEN, ""):
            answer = ask(EVERY[name], path, token=token)
            seen = re.sub(r"<style>.*?</style>|data:[^\"]*", "", answer.text, flags=re.DOTALL) + json.dumps(
                {key: value for key, value in answer.headers.items() if key != "Content-Security-Policy"}
            )
            for secret in ("app", "postgres", "s3", "filebase", "0.1.0", "7301442", "w1-", "script"):
                assert secret not in seen.replace("application", ""), (path, secret)


# Who comes in


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing", "/healthz/", "//", "/favicon.ico"])
def test_without_the_token_everything_else_is_locked(path):
    for given in (
        {},
        bearer("another"),
        bearer(""),
        {"HTTP_AUTHORIZATION": "Basic YTpi"},
        {"HTTP_COOKIE": "dwebbackup="},
    ):
        answer = ask(WELL, path, **given)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "DWEBBACKUP_PAGE_TOKEN" in answer.text
    assert ask(WELL, f"{path}?token=another").status == 401


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing", "/?token="])
def test_where_no_token_is_configured_nobody_comes_in(path):
    for given in ({}, bearer(""), {"HTTP_COOKIE": "dwebbackup="}):
        answer = ask(WELL, path, token="", **given)
        assert answer.status == 403
        assert "Set <code" in answer.text
        assert "DWEBBACKUP_PAGE_TOKEN" in answer.text


def test_a_door_does_not_say_that_there_is_no_token_where_it_cannot_be_used(tmp_path):
    missing = {"DWEBBACKUP_PAGE_TOKEN_FILE": str(tmp_path / "missing")}
    for wrong in ({"DWEBBACKUP_PAGE_TOKEN": "short"}, missing):
        problems = tuple(problem(fault, "configuration") for fault in survey(environment=wrong)[1])
        answer = ask(replace(NOT_CONFIGURED, problems=problems), token="")
        assert answer.status == 403
        assert "The token in the configuration cannot be used; the log says why" in answer.text
        assert "no token" not in answer.text
    assert "It has no token yet" in ask(NOT_CONFIGURED, token="").text


def test_the_token_in_a_header_opens_the_page_and_the_metrics():
    assert "All is well" in page(WELL)
    answer = ask(WELL, "/metrics", **bearer())
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'dwebbackup_fresh{source="app"} 1.0' in answer.text


@pytest.mark.parametrize("path", ["/", "/metrics"])
def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(path):
    answer = ask(WELL, f"{path}?token=a+long+r%C3%A4ndom+word&more=1")
    assert (answer.status, answer.headers["Location"]) == (303, path)
    cookie, *rest = answer.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rest)
    assert "ndom" not in answer.headers["Set-Cookie"]
    assert ask(WELL, path, HTTP_COOKIE=f"other=1; {cookie}").status == 200
    assert ask(WELL, path, HTTP_COOKIE=f"{cookie}0").status == 401
    assert ask(WELL, path, HTTP_COOKIE=f"dwebbackup={TOKEN}".encode().decode("latin-1")).status == 401
    assert ask(WELL, path, HTTP_COOKIE=cookie, token="a new one").status == 401


def test_the_cookie_is_for_encrypted_connections_only_where_there_is_one():
    asked = "/?token=a+long+r%C3%A4ndom+word"
    assert "Secure" not in ask(WELL, asked).headers["Set-Cookie"]
    assert ask(WELL, asked, HTTP_X_FORWARDED_PROTO="https").headers["Set-Cookie"].endswith("; Secure")


def test_nobody_is_sent_to_another_address_by_a_token():
    assert ask(WELL, "//evil.example/?token=a+long+r%C3%A4ndom+word").status == 401


def test_no_token_is_nobodys_token():
    nobody = Visitors("")
    assert not nobody.knows({"HTTP_AUTHORIZATION": "Bearer "})
    assert not nobody.knows({"HTTP_COOKIE": nobody.cookie(secure=False).partition(";")[0]})
    assert not nobody.brings_token({"QUERY_STRING": "token="})


@pytest.mark.parametrize("query", ["token", "token=%ff", "&" * 1000, "a=1&" * 1000 + "token=x", "token=x&token=y"])
def test_odd_queries_and_cookies_open_nothing_and_break_nothing(query):
    assert ask(WELL, f"/?{query}").status == 401
    assert ask(WELL, "/", HTTP_COOKIE="\xff=;;=[]\x7f; dwebbackup=\xe4").status == 401


def test_a_browser_that_comes_by_a_link_from_elsewhere_asks_again_by_itself():
    elsewhere = {"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "navigate"}
    assert '<meta http-equiv="refresh" content="0">' in ask(WELL, "/", **elsewhere).text
    here = {**elsewhere, "HTTP_SEC_FETCH_SITE": "same-origin"}
    assert "refresh" not in ask(WELL, "/", **here).text


# What is asked, and how


def test_a_head_request_gets_the_headers_and_no_body():
    for path, code in (("/healthz", 200), ("/", 200), ("/metrics", 200), ("/nothing", 404)):
        whole, head = ask(WELL, path, **bearer()), ask(WELL, path, "HEAD", **bearer())
        assert (head.status, head.text) == (code, "")
        assert head.headers == whole.headers
        assert int(head.headers["Content-Length"]) == len(whole.text.encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_reading_is_allowed(method):
    for path in ("/", "/healthz", "/metrics", "/nothing"):
        answer = ask(WELL, path, method, **bearer())
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_what_is_not_there_is_not_found():
    assert ask(WELL, "/nothing", **bearer()).status == 404


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/nothing", "/?token=a+long+r%C3%A4ndom+word"])
@pytest.mark.parametrize("given", [bearer(), {}], ids=["with token", "without"])
def test_every_answer_has_the_headers_that_protect_it(path, given):
    headers = ask(WELL, path, **given).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_when_the_status_cannot_be_had_the_log_has_the_cause_and_the_visitor_has_not():
    def broken():
        raise RuntimeError("the disk of app is upside down")

    logged = io.StringIO()
    log.set_up(logged)
    for path in ("/healthz", "/", "/metrics"):
        answer = ask(broken, path, **bearer())
        assert answer.status == 500
        assert "upside" not in answer.text
    assert logged.getvalue().count('RuntimeError: the disk of app is upside down"}') == 3


# What the page says


@pytest.mark.parametrize("name", EVERY)
def test_a_page_is_whole_and_loads_nothing(name):
    text = page(EVERY[name])
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert text.endswith("</html>")
    assert f"<title>{headline(EVERY[name]).title} – dwebbackup</title>" in text
    assert not re.findall(r"""<script|\sstyle=|\son\w+=|(?:src|href)=["'](?!data:image/svg|/\?still")""", text)
    assert "None" not in words(EVERY[name])


@pytest.mark.parametrize(
    ("name", "mood", "title"),
    [
        ("well", "good", "All is well"),
        ("empty", "care", "No backup yet"),
        ("overdue", "bad", "Backups are overdue"),
        ("restoring", "busy", "Restoring"),
        ("alarm", "bad", "Your help is needed"),
        ("suspect", "care", "1 thing to look at"),
        ("waiting", "busy", "Waiting"),
        ("not configured", "bad", "Your help is needed"),
    ],
)
def test_the_headline_says_how_it_is(name, mood, title):
    head = headline(EVERY[name])
    assert (head.mood, head.title) == (mood, title)


def test_a_headline_is_never_calmer_than_what_stands_below():
    problem = OVERDUE.sources[0].problem
    assert headline(status(replace(WELL.sources[0], problem=problem))).mood == "care"
    assert headline(status(replace(EMPTY.sources[0], problem=problem))).mood == "bad"
    for each in (WELL, WAITING, EMPTY):
        assert headline(replace(each, problems=(problem,))).mood == "bad"
    unsaid = replace(SUSPECT, sources=(replace(SUSPECT.sources[0], problem=None),))
    assert headline(unsaid).title == "A backup is suspect"


@pytest.mark.parametrize("kind", ["store", "database"])
@pytest.mark.parametrize(
    ("age", "mood", "said"), [(899, "care", "waiting"), (901, "bad", "alarm: see the status page")]
)
def test_what_is_away_at_the_start_is_waited_for_and_an_alarm_after_a_quarter_of_an_hour(kind, age, mood, said):
    away = Problem(kind, "it does not answer", "", NOW - age)
    source_waits = status(source((), phase="waiting", problem=away))
    for each in (replace(NOT_CONFIGURED, problems=(away,)), source_waits):
        assert headline(each).mood == mood
        assert ask(each, "/healthz").text == f"{said}\n"
    tag = f'<span class="tag {"busy" if age < 900 else "bad"}">{said.partition(":")[0]}</span>'
    assert tag in page(source_waits)


def test_only_a_wait_that_has_a_cause_becomes_an_alarm():
    assert headline(WAITING).title == "Waiting"
    away, wrong = (Problem(kind, "it is so", "", NOW - 30) for kind in ("store", "configuration"))
    assert headline(replace(NOT_CONFIGURED, problems=(away, wrong))).title == "Your help is needed"
    assert headline(replace(WELL, problems=(away,))).title == "Waiting"


def test_what_is_wrong_comes_first_with_its_hint():
    text = words(OVERDUE)
    for said in (
        "the role backup may not read the table billing.invoices",
        "GRANT SELECT ON billing.invoices TO backup;",
        "the folder /srv/backups is not there",
        "is the disk mounted?",
        "since 2026-11-16 11:06 UTC 2 d ago",
        "the 24 words are on this machine",
    ):
        assert said in text
        assert text.index(said) < text.index("Newest good backup")
    assert "set DWEBBACKUP_RESTORE_KEY to the reader key" in words(ALARM)
    assert "DWEBBACKUP_KEY is not set" in words(NOT_CONFIGURED)
    assert "What is wrong" not in words(WELL)


def test_each_source_has_its_times_sizes_and_schedule():
    text = words(WELL)
    for said in (
        "Newest good backup 2026-11-18 09:06 UTC 2 h ago",
        "Counts until 2026-11-18 16:06 UTC in 5 h",
        "Next run 2026-11-18 15:06 UTC in 4 h",
        "Schedule every 6 hours (UTC)",
        "Read 3.5 GiB in",
        "20,200,000 rows",
        "99.8% saved",
        "200 backups",
        "4,127 packs, 13.0 GiB",
        "the store s3 did not answer for 5 minutes: connection refused",
        "nothing to do if it is back",
        "drill app",
        "writer 1",
    ):
        assert said in text
    assert '<time datetime="2026-11-18T09:06:40Z">' in page(WELL)


def test_a_restore_has_a_bar_and_its_end():
    text = page(RESTORING)
    assert '<progress aria-label="restoring app from backup 40-9c2f11d0" value="59" max="100">' in text
    assert "about 2 min 58 s left" in text
    assert "1.9 GiB of about 3.2 GiB · 59% · for 4 min" in words(RESTORING)
    assert '<meta http-equiv="refresh" content="5">' in text


def test_a_page_loads_itself_again_unless_it_is_asked_to_hold_still():
    assert '<meta http-equiv="refresh" content="30">' in page(WELL)
    assert '<a href="/?still">' in page(WELL)
    still = ask(WELL, "/?still", **bearer())
    assert (still.status, "http-equiv" in still.text) == (200, False)
    assert '<a href="/">' in still.text


def test_work_without_a_known_end_has_a_bar_that_says_so():
    text = page(status(source(history(3), phase="backing up", moving=Moving("backing up app", NOW - 5, 7, None))))
    assert '<progress aria-label="backing up app"></progress>' in text
    more = Moving("backing up app", NOW - 5, 300, 200)
    assert 'value="100"' in page(status(source(history(3), moving=more)))


def test_suspect_backups_stand_apart_with_their_reason():
    text = words(SUSPECT)
    assert "Suspect: kept, but not counted as good" in text
    assert "has 31% of the rows of the backup before it" in text
    assert "Suspect: kept" not in words(WELL)


def test_two_databases_under_one_name_are_two_histories():
    text = page(TWO_HISTORIES)
    assert text.count('<svg class="chart"') == 2
    assert "2 databases have written backups under this name" in text
    assert text.index('This database <span class="mono">7301442-app') < text.index("Another database")
    assert page(WELL).count('<svg class="chart"') == 1


def test_a_database_that_was_restored_goes_on_with_the_history_of_the_one_before():
    text = page(RESTORED)
    assert text.count('<svg class="chart"') == 1
    assert text.count('<rect class="change"') == 2  # in the picture, and beside its explanation
    assert "39 backups" in words(RESTORED)
    said = "Since 2026-11-16 09:06 UTC 2 d 2 h ago this history goes on in the restored database, 7554018-app"
    assert said in words(RESTORED)
    assert "under this name" not in text
    assert "goes on" not in words(TWO_HISTORIES)


def test_two_databases_of_one_server_can_be_told_apart():
    server = "postgres:7710751035626639688"
    both = (made(1, NOW - HOUR, identity=f"{server}:16384"), made(2, NOW, identity=f"{server}:16388"))
    text = words(status(source(both)))
    assert "This database …639688:16388" in text
    assert "Another database …639688:16384" in text


def database(identity: str, *at: int, follows: str = "") -> list[Made]:
    return [replace(made(number, NOW + number, identity=identity), follows=follows) for number in at]


@pytest.mark.parametrize(
    ("backups", "expected"),
    [
        ([database("a", 1, 2), database("b", 3, 4, follows="a"), database("c", 5, follows="b")], ["aabbc"]),
        ([database("a", 1, 2), database("b", 3, 4)], ["bb", "aa"]),
        ([database("a", 1, 2, 4), database("b", 3, 5, follows="a")], ["bb", "aaa"]),
        ([database("a", 1, 2), database("b", 3, follows="a"), database("c", 4, 5, follows="a")], ["aacc", "b"]),
        ([database("b", 3, follows="gone")], ["b"]),
        ([database("a", 1), database("b", 2), database("b", 3, follows="a")], ["abb"]),
        ([database("a", 1, follows="b"), database("b", 2, follows="a")], ["ab"]),
        ([], []),
    ],
    ids=["restored twice", "unrelated", "went on", "two of one", "pruned away", "accepted later", "a circle", "none"],
)
def test_only_who_was_restored_and_is_the_only_one_since_continues_a_history(backups, expected):
    every = tuple(sorted(itertools.chain(*backups), key=lambda each: each.finished))
    found = histories(source(every))
    assert ["".join(each.identity for each in history.made) for history in found] == expected
    assert [history.is_current for history in found] == [at == 0 for at in range(len(found))]
    changes = ["".join(each.identity for each in history.changes) for history in found]
    assert changes == ["".join(dict.fromkeys(text))[1:] for text in expected]


def test_names_stay_text_and_secrets_stay_out():
    text = page(HOSTILE)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 12
    assert "hunter2" not in text
    assert "dwbw1qqqq" not in text
    assert "dwbw1…" in text


def test_what_is_to_be_typed_looks_like_it():
    problem = Problem("key", "no key of `app & co` is here", f"`dwebbackup key {NASTY}` prints one", NOW)
    text = page(replace(WELL, problems=(problem,)))
    assert 'no key of <code class="mono">app &amp; co</code> is here' in text
    assert '<code class="mono">dwebbackup key &lt;script&gt;alert(1)&lt;/script&gt;</code> prints one' in text


# The picture


def bars(picture: str, kind: str) -> list[tuple[float, float]]:
    """Left ends and widths of all rectangles of that kind."""
    found = re.findall(rf'<rect class="{kind}" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', picture)
    return [(float(x), float(width)) for x, width in found]


@pytest.mark.parametrize(("number", "least", "most"), [(1, 1, 1), (2, 2, 2), (10, 10, 10), (1000, 85, 91)])
def test_a_picture_is_readable_with_one_backup_and_with_a_thousand(number, least, most):
    drawn = bars(chart(history(number), NOW, NOW + HOUR).svg, "read good")
    assert least <= len(drawn) <= most
    assert min(x for x, _ in drawn) >= 0
    assert max(x + width for x, width in drawn) <= 1000.1
    assert min(width for _, width in drawn) >= 3
    assert not bars(chart(history(number), NOW, NOW + HOUR).svg, "gap")


def test_a_missing_week_is_a_gap_and_thinned_out_backups_are_none():
    week = (*history(20, until=NOW - 9 * 24 * HOUR), *history(8, until=NOW - HOUR))
    ((left, width),) = bars(chart(week, NOW, NOW + HOUR).svg, "gap")
    assert 0 < left < left + width < 1000
    days = [made(at, NOW - (40 - at) * 24 * HOUR) for at in range(1, 33)]
    thinned = (*days, *history(28, until=NOW - 2 * HOUR))
    assert not bars(chart(thinned, NOW, NOW + HOUR).svg, "gap")


def test_from_when_a_backup_was_due_until_now_is_a_gap():
    late = history(10, until=NOW - 20 * HOUR)
    ((left, width),) = bars(chart(late, NOW, NOW - 13 * HOUR).svg, "gap")
    assert left + width == pytest.approx(1000)
    assert width == pytest.approx(1000 * 13 / 74, abs=0.2)


def test_the_newest_bar_is_as_wide_as_the_ones_before_however_long_ago_it_was():
    drawn = bars(chart(history(10, until=NOW - 60 * HOUR), NOW, None).svg, "read good")
    assert max(width for _, width in drawn) == pytest.approx(min(width for _, width in drawn), abs=0.2)
    ((_, alone),) = bars(chart(history(1), NOW, None).svg, "read good")
    assert alone < 100


def test_a_suspect_backup_is_drawn_as_one_and_says_why():
    picture = chart(SUSPECT.sources[0].history, NOW, None).svg
    assert len(bars(picture, "read suspect")) == 1
    assert "suspect: has 31% of the rows" in picture
    assert 'aria-label="Timeline: 121 backups, 1 suspect, 0 gaps"' in picture


def test_backups_of_nothing_and_at_one_moment_are_drawn():
    nothing = replace(history(1)[0], bytes_read=0, bytes_stored=0)
    assert bars(chart((nothing, nothing), nothing.finished, None).svg, "read good")
    later = replace(nothing, finished=NOW + HOUR)
    assert bars(chart((nothing, later), NOW, None).svg, "read good")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (150, "2 min 30 s"), (180, "3 min"), (3599, "59 min"),
        (3600, "1 h"), (7260, "2 h 1 min"), (86400, "1 d"), (180000, "2 d 2 h"), (864000, "10 d"),
    ],
)  # fmt: skip
def test_lengths_of_time_in_words(seconds, said):
    assert about(seconds) == said


def test_moments_from_now_in_words():
    assert [from_now(100, 100.5), from_now(100, 40), from_now(100, 400)] == ["now", "1 min ago", "in 5 min"]
