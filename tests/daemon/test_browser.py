"""The status page in a real Chromium: nothing complains, nothing is fetched, it fits a phone, and anybody can read it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

from daemon.browser import TOKEN, Seen, Visit, browse, served
from daemon.statuses import EVERY, NASTY, WELL
from dwebbackup.daemon.server import Server
from dwebbackup.daemon.summary import headline

DESKTOP, PHONE = 1100, 375

LOOKS = ((DESKTOP, "light"), (PHONE, "dark"))

AUDITED = ("well", "overdue", "alarm", "restoring", "suspect", "two histories")

Looks = dict[tuple[str, int], Seen]
"""By the status's name and the width."""


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    with served(EVERY) as at:
        yield at


@pytest.fixture(scope="module")
def looks(addresses) -> Looks:
    """Every status, wide and light, narrow and dark; all in one browser."""
    asked = [(name, width, scheme) for name in EVERY for width, scheme in LOOKS]
    seen = browse([
        Visit(f"{addresses[name]}?still", width, scheme=scheme, audited=name in AUDITED) for name, width, scheme in asked
    ])  # fmt: skip
    return {(name, width): look for (name, width, _), look in zip(asked, seen, strict=True)}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_page_renders_without_a_complaint_and_without_another_request(looks, addresses, name, width):
    look = looks[name, width]
    assert look.complaints == []
    assert look.requests == [f"{addresses[name]}?still"]
    assert look.title == f"{headline(EVERY[name]).title} – dwebbackup"
    assert headline(EVERY[name]).title in look.text


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_scrolls_sideways(looks, name, width):
    assert looks[name, width].wide <= width


@pytest.mark.parametrize("name", AUDITED)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_an_audit_finds_no_barrier(looks, name, width):
    """Contrast, language, names of what can be used, landmarks, order of headings…"""
    assert looks[name, width].violations == []


def test_light_and_dark_are_what_the_visitor_prefers(looks):
    assert looks["well", DESKTOP].background == "rgb(245, 246, 248)"
    assert looks["well", PHONE].background == "rgb(14, 19, 26)"


def test_the_pictures_have_colours_and_can_be_asked(looks):
    look = looks["suspect", DESKTOP]
    assert "rgb(0, 0, 0)" not in look.fills, "black is what has no style"
    assert 'url("#hatched")' in look.fills
    assert any(heard.endswith("(6,120,000 of 20,252,000)") for heard in look.heard)


def test_a_database_with_the_name_of_a_script_is_only_a_name(looks):
    for width in (DESKTOP, PHONE):
        assert looks["hostile", width].text.count(NASTY) >= 10
        assert looks["hostile", width].complaints == []


def test_the_token_is_asked_for_once_and_leaves_the_address(addresses):
    """With a token in the address: from it into a cookie that no script can read, which opens the page."""
    at = addresses["well"]
    (look,) = browse([Visit(f"{at}?token={quote(TOKEN)}", token="")])
    assert (look.address, look.title) == (at, f"{headline(WELL).title} – dwebbackup")
    (cookie,) = look.cookies
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    assert look.complaints == []


def test_without_a_token_there_is_a_door(addresses):
    (look,) = browse([Visit(addresses["well"], PHONE, token="", audited=True)])
    assert "This page is locked" in look.text
    assert look.violations == []
    assert look.wide <= PHONE
    assert look.cookies == []


def test_a_link_from_another_site_opens_the_page_although_the_cookie_is_strict(addresses):
    """A browser does not send our cookie where another site's link leads, so the page that it gets asks again."""
    at = urlsplit(addresses["well"])

    def another_site(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        link = f"http://{at.netloc}/?token={quote(TOKEN)}"
        return [f'<link rel="icon" href="data:,"><a href="{link}">backups</a>'.encode()]

    server = Server(another_site, "127.0.0.1:0")
    server.start()
    try:
        (look,) = browse([Visit(f"http://localhost:{server.port}/", token="", click="a")])
    finally:
        server.stop()
    assert look.address == f"http://{at.netloc}/"
    assert look.title == f"{headline(WELL).title} – dwebbackup"
