"""Secrets never reach a log line; progress is a bar on a terminal and lines elsewhere."""

from __future__ import annotations

import io
import itertools
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog

from dwebbackup.keys import OwnerKey
from dwebbackup.primitives import to_bech32
from dwebbackup.report import log, wording
from dwebbackup.report.progress import Bar, Lines, progress_on
from dwebbackup.report.redaction import redact

OWNER = OwnerKey(bytes(range(32)))
WORDS = OWNER.words.split()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    handlers = logging.root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=handlers, force=True)


def numbered(separator: str) -> str:
    return separator.join(f"{number}. {word}" for number, word in enumerate(WORDS, 1))


@pytest.mark.parametrize(
    "text",
    [
        OWNER.words,
        OWNER.words.upper(),
        "\n".join(WORDS),
        "', '".join(WORDS),
        numbered("   "),
        numbered("\r\n"),
        " ".join(WORDS[:8]),
        OWNER.words.replace(" ", "             "),
    ],
)
def test_recovery_words_are_taken_out(text: str):
    assert redact(f"he said: {text}!") in {"he said: [words]!", "he said: 1. [words]!"}


def test_prose_stays():
    prose = "the quick brown fox jumps over the lazy dog, and the store did not answer, so we try again"
    assert redact(prose) == prose


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (OWNER.writer(1).line, "dwbw1…"),
        (OWNER.reader(1).line.upper(), "DWBR1…"),
        (to_bech32("age-secret-key-", OWNER.identity).upper(), "AGE-SECRET-KEY-…"),
        ("postgresql://u:hunter2@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:hun@ter/2@h/d", "postgresql://u:***@h/d"),
        ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
        ("host=h password='hunter 2' user=u", "host=h password=*** user=u"),
        ("postgresql://h/d?sslpassword=hunter2&x=1", "postgresql://h/d?sslpassword=***&x=1"),
    ],
)
def test_keys_and_passwords_are_taken_out(text: str, shown: str):
    assert redact(text) == shown


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["elsewhere", "terminal"])
def test_no_secret_gets_past_the_log(stream: io.StringIO):
    log.set_up(stream)
    logger = structlog.get_logger("test")
    logger.warning(OWNER.words, url="postgresql://u:hunter2@h/d", password="hunter2")
    logger.warning("lines", text="\n".join(WORDS), each=WORDS, nested={"a": [OWNER.writer(1).line]})
    logger.warning("object", thing=ValueError(OWNER.reader(1).line), raw=OWNER.words.encode())
    try:
        int(OWNER.words)
    except ValueError:
        logger.exception("failed")
    shown = stream.getvalue()
    assert shown.count("\n") >= 4
    assert "hunter2" not in shown
    assert OWNER.reader(1).line[6:30] not in shown
    for one, two in itertools.pairwise(WORDS):
        for between in (" ", "\\n", "', '", '", "'):
            assert one + between + two not in shown


def test_log_lines_are_json_where_nobody_looks():
    stream = io.StringIO()
    log.set_up(stream)
    structlog.get_logger("test").warning("store did not answer", attempt=2)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["attempt"]) == ("store did not answer", "warning", 2)
    assert line["timestamp"].endswith("Z")


def test_what_libraries_log_goes_the_same_way():
    stream = io.StringIO()
    log.set_up(stream)
    logging.getLogger("psycopg").warning("lost postgresql://u:%s@h/d", "hunter2")
    logging.getLogger("psycopg").info("connected")
    assert json.loads(stream.getvalue())["event"] == "lost postgresql://u:***@h/d"


def test_quiet_keeps_warnings():
    stream = io.StringIO()
    log.set_up(stream, logging.WARNING)
    logger = structlog.get_logger("test")
    logger.info("all is well")
    logger.warning("not quite")
    assert "well" not in stream.getvalue()
    assert "quite" in stream.getvalue()


def test_a_bar_is_drawn_on_a_terminal_and_leaves_nothing():
    stream = Terminal()
    with progress_on(stream) as progress:
        assert isinstance(progress, Bar)
        progress.begin("backing up blog", 1000)
        progress.advance(3000)  # more than the estimate
        progress.advance(1)
    assert "backing up blog" in stream.getvalue()
    assert stream.getvalue().split("\r")[-1].strip() == ""


def test_a_bar_is_taken_away_when_the_work_fails():
    stream = Terminal()
    with suppress(ZeroDivisionError), progress_on(stream) as progress:
        progress.begin("backing up blog", None)
        progress.advance(1 // 0)
    assert stream.getvalue().split("\r")[-1].strip() == ""


def test_a_bar_counts_every_thread():
    bar = Bar(Terminal())
    bar.begin("many", None)
    threads = [threading.Thread(target=lambda: [bar.advance(1) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bar._bar is not None
    assert bar._bar.n == 8000
    bar.end()


def test_lines_come_now_and_then_and_at_the_end():
    stream, now = io.StringIO(), [0.0]
    log.set_up(stream)
    lines = Lines(lambda: now[0])
    lines.begin("backing up blog", 1000)
    for second in range(1, 71):
        now[0] = second
        lines.advance(10)
    lines.end()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["bytes"] for line in told] == [300, 600, 700]
    assert (told[0]["bytes_per_second"], told[0]["seconds_left"]) == (10, 70)
    assert told[-1]["event"] == "backing up blog: done"


def test_what_is_quick_has_no_log_line():
    stream, now = io.StringIO(), [0.0]
    log.set_up(stream)
    lines = Lines(lambda: now[0])
    lines.begin("backing up blog", 1000)
    now[0] = 29
    lines.advance(1000)
    lines.end()
    assert stream.getvalue() == ""


def test_quiet_shows_nothing():
    for stream in (io.StringIO(), Terminal()):
        log.set_up(stream)
        with progress_on(stream, quiet=True) as progress:
            progress.begin("backing up blog", 1)
            progress.advance(1)
            progress.end()
        assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1048064, "1.0 MiB"),
        (123456789, "118 MiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_are_short(number: int, text: str):
    assert wording.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7440, "2 h 4 min")]
)
def test_times_are_short(seconds: float, text: str):
    assert wording.duration(seconds) == text


def test_a_table_is_as_wide_as_its_cells():
    shown = wording.table(("A", "SIZE"), [("long name", "1"), ("b", "10")], right=(1,))
    assert shown.splitlines() == ["A          SIZE", "long name     1", "b            10"]
    assert wording.count(1, "table") == "1 table"
    assert wording.count(1204, "row") == "1,204 rows"
