"""The status page in a real Chromium: nothing complains, nothing is fetched, it fits a phone, and anybody can read it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest

from daemon.browser import TOKEN, Seen, Visit, browse, served
from daemon.statuses import EVERY, NASTY, WELL
from dwebbackup.daemon.server import Server
from dwebbackup.daemon.summary import headline

DESKTOP, PHONE = 1100, 375

LOOKS = ((DESKTOP, "light"), (PHONE, "dark"))

AUDITED = ("well", "overdue", "restoring", "suspect")

Looks = dict[str, Seen]
"""By the status's name and the width, and what else was visited."""


@pytest.fixture(scope="module")
def looks(tmp_path_factory, testrun_uid) -> Looks:
    """Everything that these tests look at, visited by one browser: once, however many processes run the tests."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if folder.name.startswith("popen-") else folder
    kept = shared / f"looks-{testrun_uid}.json"
    with open(f"{kept}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps({name: vars(look) for name, look in visited().items()}))
    return {name: Seen(**look) for name, look in json.loads(kept.read_text()).items()}


def visited() -> Looks:
    with served(EVERY) as at, another_site(f"{at['well']}?token={quote(TOKEN)}") as elsewhere:
        visits = {
            f"{name} {width}": Visit(f"{at[name]}?still", width, scheme=scheme, audited=name in AUDITED)
            for name in EVERY
            for width, scheme in LOOKS
        }
        visits["token"] = Visit(f"{at['well']}?token={quote(TOKEN)}", token="")
        visits["door"] = Visit(at["well"], PHONE, token="", audited=True)
        visits["link"] = Visit(elsewhere, token="", click="a")
        return dict(zip(visits, browse(list(visits.values())), strict=True))


@contextmanager
def another_site(link: str) -> Iterator[str]:
    """A page with that link, on what a browser takes for another site than ours."""

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [f'<link rel="icon" href="data:,"><a href="{link}">backups</a>'.encode()]

    server = Server(application, "127.0.0.1:0")
    server.start()
    try:
        yield f"http://localhost:{server.port}/"
    finally:
        server.stop()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_page_renders_without_a_complaint_and_without_another_request(looks, name, width):
    look = looks[f"{name} {width}"]
    assert look.complaints == []
    assert look.requests == [look.address]
    assert look.title == f"{headline(EVERY[name]).title} – dwebbackup"
    assert headline(EVERY[name]).title in look.text


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_scrolls_sideways(looks, name, width):
    assert looks[f"{name} {width}"].wide <= width


@pytest.mark.parametrize("name", AUDITED)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_an_audit_finds_no_barrier(looks, name, width):
    """Contrast, language, names of what can be used, landmarks, order of headings…"""
    assert looks[f"{name} {width}"].violations == []


def test_light_and_dark_are_what_the_visitor_prefers(looks):
    assert looks[f"well {DESKTOP}"].background == "rgb(245, 246, 248)"
    assert looks[f"well {PHONE}"].background == "rgb(14, 19, 26)"


def test_the_pictures_have_colours_and_can_be_asked(looks):
    look = looks[f"suspect {DESKTOP}"]
    assert "rgb(0, 0, 0)" not in look.fills, "black is what has no style"
    assert 'url("#hatched")' in look.fills
    assert any(heard.endswith("(6,120,000 of 20,252,000)") for heard in look.heard)


def test_a_database_with_the_name_of_a_script_is_only_a_name(looks):
    for width in (DESKTOP, PHONE):
        assert looks[f"hostile {width}"].text.count(NASTY) >= 10
        assert looks[f"hostile {width}"].complaints == []


def test_the_token_is_asked_for_once_and_leaves_the_address(looks):
    """With a token in the address: from it into a cookie that no script can read, which opens the page."""
    look = looks["token"]
    assert look.title == f"{headline(WELL).title} – dwebbackup"
    assert (urlsplit(look.address).path, urlsplit(look.address).query) == ("/", "")
    (cookie,) = look.cookies
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    assert look.complaints == []


def test_without_a_token_there_is_a_door(looks):
    look = looks["door"]
    assert "This page is locked" in look.text
    assert look.violations == []
    assert look.wide <= PHONE
    assert look.cookies == []


def test_a_link_from_another_site_opens_the_page_although_the_cookie_is_strict(looks):
    """A browser does not send our cookie where another site's link leads, so the page that it gets asks again."""
    look = looks["link"]
    assert look.title == f"{headline(WELL).title} – dwebbackup"
    assert (urlsplit(look.address).hostname, urlsplit(look.address).query) == ("127.0.0.1", "")
