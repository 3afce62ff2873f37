"""What each kind of channel sends, and what it says when it cannot."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import replace
from urllib.parse import quote

import pytest

from dwebbackup.errors import WrongConfiguration
from dwebbackup.report.notices import NotDelivered, Notice, parse_channel
from mail_server import PASSWORD, USER, MailServer
from web_server import Answer, Heard, WebServer

pytestmark = pytest.mark.usefixtures("no_proxies", "nothing_hidden", "log_lines")

NOTICE = Notice(
    event="failure",
    source="my_app",
    sentence="the backup failed: <!channel> & @everyone",
    hint="look at the store",
    time=1_763_700_000.0,
    details=(("store", "s3"), ("seconds", "12")),
    log_tail=("first line", "last line"),
)
LONG = replace(NOTICE, sentence="ä*" * 20_000, log_tail=tuple(f"{number} " + "ö" * 80 for number in range(1000)))

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def sent(kind: str, notice: Notice = NOTICE) -> Heard:
    with WebServer(Answer(204, body=b"")) as server:
        parse_channel(f"{kind}+http://{server.place}/a/b/").send(notice)
        return server.next()


def test_json_has_every_field():
    heard = sent("json")
    assert heard.path == "/a/b/"
    assert heard.headers["Content-Type"] == "application/json"
    body = json.loads(heard.body)
    assert body.pop("version")
    assert body == {
        "program": "dwebbackup",
        "event": "failure",
        "title": "my_app: failed",
        "source": "my_app",
        "sentence": "the backup failed: <!channel> & @everyone",
        "hint": "look at the store",
        "time": "2025-11-21T04:40:00Z",
        "details": {"store": "s3", "seconds": "12"},
        "log": ["first line", "last line"],
    }


def test_slack_is_called_without_a_mention_or_markup():
    body = json.loads(sent("slack").body)
    assert body["mrkdwn"] is False
    assert body["text"].splitlines() == [
        "dwebbackup, my_app: failed",
        "the backup failed: &lt;!channel&gt; &amp; @everyone",
        "What to do: look at the store",
        "store: s3",
        "seconds: 12",
        "2025-11-21T04:40:00Z",
    ]


def test_discord_is_called_without_a_mention_or_markup():
    body = json.loads(sent("discord").body)
    assert body["allowed_mentions"] == {"parse": []}
    lines = body["content"].splitlines()
    assert lines[0] == r"**dwebbackup, my\_app\: failed**"
    assert lines[1] == r"the backup failed\: \<!channel\> & \@everyone"


def test_no_message_is_longer_than_its_service_takes():
    assert len(json.loads(sent("discord", LONG).body)["content"]) <= 2000
    assert len(json.loads(sent("slack", LONG).body)["text"]) < 4000
    log = json.loads(sent("json", LONG).body)["log"]
    assert log == list(LONG.log_tail[-len(log) :])
    assert 50 < len(log) < 70
    assert len(sent("ping", LONG).body) <= 10_000


@pytest.mark.parametrize(("event", "way"), [("start", "/start"), ("success", ""), ("failure", "/fail")])
def test_a_ping_goes_where_its_event_belongs_and_names_its_run(event: str, way: str):
    with WebServer() as server:
        channel = parse_channel(f"ping+http://{server.place}/key/my-app?create=1")
        channel.send(replace(NOTICE, event=event, run="0b1f9c4e-0000-4000-8000-000000000000"))
        assert server.next().path == f"/key/my-app{way}?create=1&rid=0b1f9c4e-0000-4000-8000-000000000000"


def test_a_failing_ping_brings_the_last_log_lines():
    text = sent("ping").body.decode()
    assert text.startswith("the backup failed: <!channel> & @everyone\nWhat to do: look at the store\n")
    assert text.endswith("\n\nfirst line\nlast line")
    long = sent("ping", LONG).body.decode()
    assert long.endswith(LONG.log_tail[-1])
    assert long.startswith("ä*ä*")
    assert "first line" not in sent("ping", replace(NOTICE, event="success")).body.decode()


def test_a_line_that_has_no_room_is_cut_and_not_left_out():
    text = sent("ping", replace(NOTICE, log_tail=("é" * 20_000,))).body
    assert 9_990 < len(text) <= 10_000
    assert text.decode().endswith("éé")


def test_text_that_no_utf8_can_say_is_sent_all_the_same():
    odd = replace(NOTICE, source="a\udc80\r\nb", sentence="x\udc80", log_tail=("y\udc80",))
    assert json.loads(sent("json", odd).body)["title"] == "a b: failed"
    assert sent("ping", odd).body.startswith(b"x?")


def test_a_monitor_that_does_not_know_the_check_says_so_with_status_200():
    with WebServer(Answer(200, body=b"OK (not found)")) as server:
        with pytest.raises(NotDelivered, match="no such check") as caught:
            parse_channel(f"ping+http://{server.place}/0b1f9c4e").send(NOTICE)
        assert not caught.value.again


def test_an_answer_that_stops_in_its_middle_is_an_answer():
    with WebServer(Answer(200, {"Content-Length": "1000"}, b"OK")) as server:
        parse_channel(f"ping+http://{server.place}/0b1f9c4e").send(NOTICE)


def test_a_server_that_never_answers_is_left_after_a_while():
    with WebServer() as server:
        server.hold()
        channel = parse_channel(f"json+http://{server.place}/")
        impatient = replace(channel, address=replace(channel.address, timeout=0.2))
        with pytest.raises(NotDelivered, match="did not answer in time") as caught:
            impatient.send(NOTICE)
        assert caught.value.again


def test_a_server_in_a_hurry_is_given_its_time():
    with WebServer(Answer(429, {"Retry-After": "7"})) as server, pytest.raises(NotDelivered) as caught:
        parse_channel(f"json+http://{server.place}/").send(NOTICE)
    assert (caught.value.again, caught.value.pause) == (True, 7.0)


@pytest.mark.usefixtures("trusting")
def test_tls_with_a_trusted_certificate(server_tls: ssl.SSLContext):
    with WebServer(tls=server_tls) as server:
        parse_channel(f"json+https://{server.place}/").send(NOTICE)
        assert json.loads(server.next().body)["event"] == "failure"


def test_tls_with_a_certificate_that_nobody_trusts_sends_nothing(server_tls: ssl.SSLContext):
    with WebServer(tls=server_tls) as server:
        with pytest.raises(NotDelivered, match=r"no secure connection to it: .*issuer"):
            parse_channel(f"json+https://{server.place}/").send(NOTICE)
        assert server.rest() == []


def test_a_list_of_authorities_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    with pytest.raises(NotDelivered, match="REQUESTS_CA_BUNDLE names a file that is not there"):
        parse_channel("json+https://127.0.0.1:1/").send(NOTICE)


def test_a_proxy_is_used_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch):
    with WebServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.place}")
        parse_channel("json+http://webhooks.invalid/x").send(NOTICE)
        assert proxy.next().path == "http://webhooks.invalid/x"


def test_nobody_at_the_address_is_told_without_the_rest_of_the_url():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(NotDelivered, match="it cannot be reached: Connection refused") as caught:
            parse_channel(f"json+http://127.0.0.1:{deaf.getsockname()[1]}/t0k3nt0k3n").send(NOTICE)
    assert "t0k3n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.again


# ---- mail ----


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_mail_goes_by_tls_after_a_login(scheme: str, server_tls: ssl.SSLContext):
    with MailServer(server_tls, implicit=scheme == "smtps") as server:
        parse_channel(
            f"{scheme}://{LOGIN}@{server.place}/?from=backup@example.com&to=a+b@example.com&to=c@example.com"
        ).send(NOTICE)
        envelope, letter = server.next()
    assert envelope.mail_from == "backup@example.com"
    assert envelope.rcpt_tos == ["a+b@example.com", "c@example.com"]
    assert letter["Subject"] == "dwebbackup, my_app: failed"
    assert letter["Date"].datetime.timestamp() == NOTICE.time
    assert letter["To"] == "a+b@example.com, c@example.com"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"].endswith("@example.com>")
    assert letter.get_content().splitlines()[:2] == [NOTICE.sentence, "What to do: look at the store"]
    assert letter.get_content().splitlines()[-2:] == ["first line", "last line"]


@pytest.mark.usefixtures("trusting")
def test_mail_in_any_alphabet_arrives(server_tls: ssl.SSLContext):
    odd = replace(LONG, source="größe\r\nBcc: x@example.com", sentence="数据库 \udc80")
    with MailServer(server_tls) as server:
        parse_channel(f"smtp://{LOGIN}@{server.place}/?from=a@b.c&to=d@e.f").send(odd)
        envelope, letter = server.next()
    assert letter["Subject"] == "dwebbackup, größe Bcc: x@example.com: failed"
    assert envelope.rcpt_tos == ["d@e.f"]
    assert letter.get_content().startswith("数据库 ?\n")


@pytest.mark.usefixtures("trusting")
def test_a_wrong_password_is_told_without_it(server_tls: ssl.SSLContext):
    with MailServer(server_tls) as server:
        channel = parse_channel(f"smtp://{quote(USER, safe='')}:wr0ngpass@{server.place}/?from=a@b.c&to=d@e.f")
        with pytest.raises(NotDelivered, match="it answered 535") as caught:
            channel.send(NOTICE)
    assert caught.value.hint == "look at user and password in the setting"
    assert not caught.value.again
    assert "wr0ngpass" not in str(caught.value) + repr(channel)


def test_no_login_and_no_mail_goes_to_a_server_whose_certificate_nobody_trusts(server_tls: ssl.SSLContext):
    with MailServer(server_tls) as server:
        with pytest.raises(NotDelivered, match="certificate is not to be trusted"):
            parse_channel(f"smtp://{LOGIN}@{server.place}/?from=a@b.c&to=d@e.f").send(NOTICE)
        assert server.is_empty()


@pytest.mark.usefixtures("trusting")
def test_no_login_and_no_mail_goes_to_a_server_without_starttls():
    with MailServer(None) as server:
        with pytest.raises(NotDelivered, match="STARTTLS"):
            parse_channel(f"smtp://{LOGIN}@{server.place}/?from=a@b.c&to=d@e.f").send(NOTICE)
        assert server.is_empty()
        assert server.logins == []


@pytest.mark.usefixtures("trusting")
def test_a_recipient_that_is_refused_does_not_keep_the_others_from_theirs(server_tls: ssl.SSLContext):
    with MailServer(server_tls, refused=("x@b.c",)) as server:
        with pytest.raises(NotDelivered, match="refused 1 of 2 recipients") as caught:
            parse_channel(f"smtp://{LOGIN}@{server.place}/?from=a@b.c&to=x@b.c,y@b.c").send(NOTICE)
        assert not caught.value.again
        assert server.next()[0].rcpt_tos == ["y@b.c"]


@pytest.mark.usefixtures("trusting")
def test_nobody_left_to_write_to_is_told(server_tls: ssl.SSLContext):
    with MailServer(server_tls, refused=("x@b.c",)) as server:
        with pytest.raises(NotDelivered, match=r"refused every recipient \(550\)") as caught:
            parse_channel(f"smtp://{LOGIN}@{server.place}/?from=a@b.c&to=x@b.c").send(NOTICE)
        assert not caught.value.again


def test_a_mail_server_that_says_nothing_is_left_after_a_while():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        channel = parse_channel(f"smtp://127.0.0.1:{silent.getsockname()[1]}/?from=a@b.c&to=d@e.f")
        with pytest.raises(NotDelivered, match="did not answer in time") as caught:
            replace(channel, timeout=0.2).send(NOTICE)
        assert caught.value.again


# ---- addresses ----


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("json+https://example.com/hook", "json at example.com"),
        ("json+http://example.com/hook", "json at example.com"),
        ("JSON+https://user:password@example.com:8443", "json at example.com"),
        ("slack+https://chat.example.com/hooks/x", "slack at chat.example.com"),
        ("https://hooks.slack.com/services/T0/B0/x", "slack at hooks.slack.com"),
        ("discord+http://127.0.0.1:1/x", "discord at 127.0.0.1"),
        ("https://discord.com/api/webhooks/1/x", "discord at discord.com"),
        ("https://ptb.discordapp.com/api/webhooks/1/x", "discord at ptb.discordapp.com"),
        ("https://hc-ping.com/0b1f9c4e", "ping at hc-ping.com"),
        ("ping+http://[::1]:8000/ping/0b1f9c4e", "ping at ::1"),
        ("smtp://mail.example.com/?from=a@b.c&to=d@e.f", "mail by mail.example.com"),
        ("smtps://u:p@mail.example.com?from=a@b.c&to=d@e.f", "mail by mail.example.com"),
    ],
)
def test_a_channel_is_known_by_its_url(url: str, called: str):
    assert parse_channel(url).called == called


def test_mail_has_its_usual_ports():
    ports = {each: parse_channel(f"{each}://h/?from=a@b.c&to=d@e.f").port for each in ("smtp", "smtps")}
    assert ports == {"smtp": 587, "smtps": 465}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "S3CR3TS3CR3T",
        "https://example.com/S3CR3TS3CR3T",
        "http://hooks.slack.com/services/S3CR3TS3CR3T",
        "slack+http://chat.example.com/S3CR3TS3CR3T",
        "ping+http://127.0.0.1.example.com/S3CR3TS3CR3T",
        "slack+https://hooks.slack.com",
        "discord+https://discord.com/",
        "ping+https://hc-ping.com/",
        "gopher+https://example.com/S3CR3TS3CR3T",
        "json+ftp://example.com/S3CR3TS3CR3T",
        "+https://example.com/S3CR3TS3CR3T",
        "json+https:///S3CR3TS3CR3T",
        "json+https://[::1/S3CR3TS3CR3T",
        "json+https://example.com:S3CR3TS3CR3T/",
        "json+https://example.com/S3CR3TS3CR3T x",
        "json+https://example.com/S3CR3TS3CR3T\nx",
        "json+https://example.com/ü/S3CR3TS3CR3T",
        "json+https://example.com/x#S3CR3TS3CR3T",
        "smtp://u:S3CR3TS3CR3T@h/",
        "smtp://u:S3CR3TS3CR3T@h/?from=a@b.c",
        "smtp://u:S3CR3TS3CR3T@h/?to=a@b.c",
        "smtp://u:S3CR3TS3CR3T@h/?from=a@b.c&from=a@b.c&to=a@b.c",
        "smtp://u:S3CR3TS3CR3T@h/?from=a@b.c&to=S3CR3TS3CR3T",
        "smtp://u:S3CR3TS3CR3T@h/?from=a@b.c&to=a@b.c&S3CR3TS3CR3T=1",
        "smtp://u:S3CR3TS3CR3T@h/?from=a@b.c&to=a@b.c%0d%0aBcc:x@y.z",
        "smtp://u:S3CR3T/S3CR3T@h/?from=a@b.c&to=a@b.c",
        "smtp://S3CR3TS3CR3T@h/?from=a@b.c&to=a@b.c",
        "smtp://u:S3CR3TS3CR3T%C3%BC@h/?from=a@b.c&to=a@b.c",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_a_hint_and_without_itself(url: str):
    with pytest.raises(WrongConfiguration, match="channel of DWEBBACKUP_NOTIFY") as caught:
        parse_channel(url)
    assert caught.value.hint
    assert "S3CR3T" not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None
