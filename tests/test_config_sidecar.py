"""The sidecar's settings, PostgreSQL's own variables, and what Kubernetes puts among them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from configuring import configured, refusal, secret_file
from dwebbackup.config import Config, Given, load, survey
from dwebbackup.config.service_links import is_service_link
from dwebbackup.policy import Policy
from dwebbackup.schedule import Schedule
from fix_postgres import identifier, literal, new_database

TOKEN = "hunter2hunter2hunter2"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's configuration but the test's: here, and at home."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


# --- when, and what is kept ---


def test_without_a_word_there_is_a_backup_every_six_hours_and_nothing_is_dropped():
    assert configured().schedule == Schedule("every 6 hours", "UTC", 0)
    assert configured().keep is None


def test_a_schedule_has_a_time_zone_and_a_jitter():
    variables = {"SCHEDULE": "daily at 03:00", "TIMEZONE": "Europe/Berlin", "JITTER": "1h30m"}
    assert configured(**variables).schedule == Schedule("daily at 03:00", "Europe/Berlin", 5400)
    assert configured(TIMEZONE="Asia/Kathmandu").schedule == Schedule("every 6 hours", "Asia/Kathmandu")
    text = 'schedule: "*/15 * * * *"\ntimezone: Europe/Berlin\njitter: 90s'
    assert configured(text).schedule == Schedule("*/15 * * * *", "Europe/Berlin", 90)
    assert configured(text, SCHEDULE="hourly").schedule == Schedule("hourly", "Europe/Berlin", 90)


@pytest.mark.parametrize("jitter", ["0", "0s", "0m", "no", "off"])
def test_no_jitter_can_be_said(jitter: str):
    assert configured("jitter: 5m", JITTER=jitter).schedule.jitter == 0
    assert configured(f"jitter: {jitter}").schedule.jitter == 0


def test_each_source_may_have_a_schedule_of_its_own():
    config = configured(
        "sources: [{url: 'postgresql://h/a', schedule: hourly}, {url: 'postgresql://h/b', schedule: }, "
        "{url: 'postgresql://h/c'}]\nschedule: daily at 01:00\ntimezone: Europe/Berlin\njitter: 1m"
    )
    assert [source.schedule for source in config.sources] == [Schedule("hourly", "Europe/Berlin", 60), None, None]
    assert config.schedule == Schedule("daily at 01:00", "Europe/Berlin", 60)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SCHEDULE", "sometimes", "DWEBBACKUP_SCHEDULE: "),
        ("SCHEDULE", "61 * * * *", "DWEBBACKUP_SCHEDULE: "),
        ("TIMEZONE", "Mars/Base", "DWEBBACKUP_TIMEZONE: there is no time zone 'Mars/Base'"),
        ("JITTER", "soon", "DWEBBACKUP_JITTER is not a length of time"),
        ("JITTER", "5", "DWEBBACKUP_JITTER is not a length of time"),
        ("KEEP", "everything", "DWEBBACKUP_KEEP: "),
        ("KEEP", "0", "DWEBBACKUP_KEEP: "),
    ],
)
def test_a_text_that_is_no_such_thing_is_told_with_its_place_and_with_a_hint(name: str, text: str, said: str):
    message = refusal(**{name: text})
    assert message.startswith(said)
    assert message.endswith(")"), "there is a hint"
    assert not message.endswith("()")
    assert refusal(f"{name.lower()}: '{text}'").startswith(
        said.replace(f"DWEBBACKUP_{name}", f"{name.lower()} in dwebbackup.yaml")
    )


def test_what_is_kept_is_a_policy():
    assert configured(KEEP="last 7, daily 14, floor 2").keep == Policy(last=7, daily=14, floor=2)
    assert configured("keep: within 14d").keep == Policy(within=14 * 86400)
    assert configured("keep: [last 7, daily 14]").keep == Policy(last=7, daily=14)
    assert configured(given=Given(keep="last 1"), KEEP="last 2").keep == Policy(last=1)
    assert refusal("", Given(keep="all")).startswith("--keep: ")


# --- the page, and whom to tell ---


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("", "0.0.0.0:8080"),
        ("8080", "0.0.0.0:8080"),
        (":9000", "0.0.0.0:9000"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("localhost:08080", "localhost:8080"),
        ("[::]:65535", "[::]:65535"),
        ("off", ""),
        ("OFF", ""),
        ("no", ""),
        ("false", ""),
    ],
)
def test_where_the_page_listens(text: str, listen: str):
    assert configured(LISTEN=text).listen == listen
    if not text.startswith(":"):
        assert configured(f"listen: {text}" if "[" not in text else f"listen: '{text}'").listen == listen


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:", "1:65536", "a b:80", "http://h:80", "::1:80", "h:-1", "²"])
def test_where_no_page_could_listen_is_refused(text: str):
    assert "DWEBBACKUP_LISTEN is not an address and a port (write 0.0.0.0:8080, 8080 or off)" in refusal(LISTEN=text)


def test_a_page_token_is_long_and_has_no_spaces():
    assert configured(PAGE_TOKEN="0123456789abcdef").page_token == "0123456789abcdef"
    assert configured("page_token: 0123456701234567").page_token == "0123456701234567", "a text, and no octal number"
    for token in ("0123456789abcde", "hunter2 hunter2 hunter2", "hunter2ühunter2ühunter2"):
        message = refusal(PAGE_TOKEN=token)
        assert "DWEBBACKUP_PAGE_TOKEN is not a token of at least 16 characters, without spaces" in message
        assert token not in message


def test_whom_to_tell_are_urls():
    urls = ("https://example.org/hook", "smtp://u:p%40@mail:587/?from=a@b&to=c@d")
    assert configured(NOTIFY=f"{urls[0]}\n  {urls[1]} {urls[0]}").notify == urls
    assert configured(f"notify: [{urls[0]}, '{urls[1]}']").notify == urls
    assert configured(f"notify: {urls[0]}").notify == urls[:1]
    assert configured(NOTIFY_FILE=secret_file("notify", "\n".join(urls))).notify == urls
    message = refusal(NOTIFY=f"{urls[0]} hunter2")
    assert "DWEBBACKUP_NOTIFY is not one or more URLs" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "field"), [("RESTORE_KEY", "restore_key"), ("PAGE_TOKEN", "page_token"), ("NOTIFY", "notify")]
)
def test_the_sidecars_secrets_can_stand_in_files_and_do_not_show(name: str, field: str):
    secret = f"https://{TOKEN}"
    path = secret_file("secret", f"{secret}\n")
    config = configured(**{f"{name}_FILE": path})
    assert config == configured(**{name: secret}) == configured(f"{name.lower()}_file: {path}")
    assert secret in getattr(config, field)
    assert TOKEN not in repr(config)
    message = refusal(**{name: secret, f"{name}_FILE": path})
    assert f"DWEBBACKUP_{name} and DWEBBACKUP_{name}_FILE are both given" in message
    assert TOKEN not in message


def test_a_reader_key_stands_in_a_file_of_its_own():
    message = refusal("restore_key: dwbr1hunter2")
    assert "did you mean restore_key_file?" in message
    assert "hunter2" not in message
    Path("dwebbackup.yaml").unlink()
    assert load(None, {"DWEBBACKUP_RESTORE_KEY_FILE": "."}, with_key=False).restore_key == ""


def test_the_file_of_a_reader_key_may_be_missing_until_it_is_wanted():
    assert configured(RESTORE_KEY_FILE="reader-key").restore_key == ""
    assert configured("restore_key_file: reader-key").restore_key == ""
    secret_file("reader-key", "dwbr1...\n")
    assert configured(RESTORE_KEY_FILE="reader-key").restore_key == "dwbr1..."
    assert "cannot read reader-key/x: Not a directory" in refusal(RESTORE_KEY_FILE="reader-key/x")
    assert "cannot read .: Is a directory" in refusal(RESTORE_KEY_FILE=".")


# --- what makes it suspicious, and how it ends ---


@pytest.mark.parametrize(
    ("text", "share"), [("", 0.5), ("50%", 0.5), ("12.5 %", 0.125), ("0%", 0), ("0", 0), ("off", 0), ("100%", 1)]
)
def test_below_which_share_a_backup_is_suspect(text: str, share: float):
    assert configured(SUSPECT_BELOW=text).suspect_below == share
    assert configured(f"suspect_below: {text}").suspect_below == share


@pytest.mark.parametrize("text", ["50", "0.5", "101%", "-1%", "half", "%", "1"])
def test_what_could_be_two_shares_or_none_is_refused(text: str):
    assert "DWEBBACKUP_SUSPECT_BELOW is not a share (write 50%, or 0% to turn it off)" in refusal(SUSPECT_BELOW=text)


@pytest.mark.parametrize("text", ["yes", "True", "on", "1", "no", "false", "OFF", "0"])
def test_yes_and_no_are_understood_as_people_write_them(text: str):
    wanted = text.lower() in {"yes", "true", "on", "1"}
    assert configured(BACKUP_ON_STOP=text).backup_on_stop == wanted
    assert configured(f"backup_on_stop: {text}").backup_on_stop == wanted
    assert "DWEBBACKUP_BACKUP_ON_STOP is not yes or no" in refusal(BACKUP_ON_STOP="perhaps")


def test_every_fault_of_the_sidecar_is_told_and_counts_as_not_given():
    Path("dwebbackup.yaml").write_text("sources: [{url: 'postgresql://h/a', schedule: seldom}]\nnotify: {to: me}\n")
    names = ("SCHEDULE", "TIMEZONE", "JITTER", "KEEP", "LISTEN", "PAGE_TOKEN", "SUSPECT_BELOW", "BACKUP_ON_STOP")
    variables = {f"DWEBBACKUP_{name}": "hunter" for name in names} | {"DWEBBACKUP_RESTORE_KEY_FILE": "/"}
    config, faults = survey(None, variables)
    told = [str(fault) for fault in faults]
    for place in (*variables, "notify in dwebbackup.yaml", "schedule of source a"):
        assert len([fault for fault in told if fault.startswith(place)]) == 1, (place, told)
    assert len(told) == len(variables) + 2
    source = config.sources[0]
    assert (source.name, source.schedule) == ("a", None), "it is backed up all the same"
    assert config == Config(sources=(source,))


def test_a_cron_line_without_quotes_is_told_what_it_lacks():
    message = refusal("schedule: */15 * * * *")
    assert "dwebbackup.yaml, line 1 is not proper YAML" in message
    assert "needs quotes" in message


def test_settings_in_yaml_are_what_was_written():
    config = configured("recipients: [off, 0123, 2026-01-01, 1.50, ~]\njobs: 4\npostgres_bin: null\nkeep:")
    assert (config.recipients, config.jobs, config.postgres_bin) == (("off", "0123", "2026-01-01", "1.50"), 4, "")


# --- libpq's variables, and those of the image `postgres` ---


def usual(**variables: str) -> dict[str, str]:
    """What libpq makes of the one source that they tell of; `name` is ours."""
    (source,) = load(None, variables).sources
    return {key: str(value) for key, value in conninfo_to_dict(source.url).items()} | {"name": source.name}


def test_the_images_variables_are_a_source():
    assert usual(POSTGRES_HOST="db", POSTGRES_USER="app", POSTGRES_PASSWORD="hunter2", POSTGRES_DB="blog") == {
        "host": "db",
        "port": "5432",
        "user": "app",
        "password": "hunter2",
        "dbname": "blog",
        "name": "blog",
    }
    assert usual(POSTGRES_HOST="db", POSTGRES_DATABASE="blog", POSTGRES_PORT="5433")["dbname"] == "blog"


def test_what_they_leave_open_is_as_in_the_image():
    assert load(None, {"PGHOST": "db"}).sources[0].url == "postgresql://postgres@db:5432/postgres"
    assert load(None, {"PGHOST": "db", "PGUSER": "app"}).sources[0].url == "postgresql://app@db:5432/app"
    assert load(None, {"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "hunter2", "PGUSER": "app"}).sources == ()
    assert load(None, {"PGHOST": " ", "POSTGRES_HOST": ""}).sources == ()


def test_libpqs_variables_win_over_the_images():
    image = {f"POSTGRES_{name}": f"not{name}" for name in ("HOST", "PORT", "USER", "PASSWORD", "DB", "DATABASE")}
    libpq = {"PGHOST": "db", "PGPORT": "1", "PGUSER": "u", "PGPASSWORD": "p", "PGDATABASE": "d"}
    assert usual(**image, **libpq) == usual(**libpq)
    assert usual(POSTGRES_HOST="h", POSTGRES_DB="blog", POSTGRES_DATABASE="other")["name"] == "blog"


def test_what_the_image_reads_from_files_is_read_from_there():
    files = {f"POSTGRES_{name}_FILE": secret_file(name, f"my {name}\n") for name in ("USER", "PASSWORD", "DB")}
    found = usual(POSTGRES_HOST="db", **files)
    assert (found["user"], found["password"], found["dbname"]) == ("my USER", "my PASSWORD", "my DB")
    _, faults = survey(None, {"POSTGRES_HOST": "db", "POSTGRES_PASSWORD_FILE": "/none"})
    assert [str(fault) for fault in faults] == ["POSTGRES_PASSWORD_FILE: cannot read /none: No such file or directory"]


def test_a_source_that_somebody_configured_wins():
    usual = {"PGHOST": "db", "PGDATABASE": "usual"}
    assert [s.name for s in load(None, usual | {"DWEBBACKUP_SOURCE": "postgresql://h/mine"}).sources] == ["mine"]
    assert [s.name for s in load(Given(sources=("postgresql://h/mine",)), usual).sources] == ["mine"]
    Path("dwebbackup.yaml").write_text("sources: [{url: 'postgresql://h/filed'}]")
    assert [s.name for s in load(None, usual).sources] == ["filed"]


def test_a_source_can_be_asked_for_by_its_name_wherever_it_comes_from():
    usual = {"PGHOST": "db", "PGDATABASE": "blog"}
    assert [s.name for s in load(Given(sources=("blog",)), usual).sources] == ["blog"]
    assert [s.name for s in load(Given(sources=("postgresql://h/mine", "blog")), usual).sources] == ["mine", "blog"]


@pytest.mark.parametrize("text", ["sources: [{url: nonsense}]", "sources: x", "sources: [", "sources: [{url_file: n}]"])
def test_no_other_database_stands_in_for_a_source_that_is_configured_wrongly(text: str):
    Path("dwebbackup.yaml").write_text(text)
    config, faults = survey(None, {"PGHOST": "db"})
    assert config.sources == ()
    assert faults
    Path("dwebbackup.yaml").unlink()
    assert survey(None, {"PGHOST": "db", "DWEBBACKUP_SOURCE_FILE": "/none"})[0].sources == ()
    assert survey(Given(config="none.yaml"), {"PGHOST": "db"})[0].sources == ()


def test_a_port_that_is_none_is_told_where_it_is_needed():
    _, (fault,) = survey(None, {"POSTGRES_HOST": "db", "POSTGRES_PORT": "hunter2"})
    assert str(fault) == "POSTGRES_PORT is not the number of a port"
    assert survey(None, {"POSTGRES_PORT": "hunter2"})[1] == ()


ANY = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
NAMES = ANY.filter(lambda name: name.isprintable() and name == name.strip() and "://" not in name)


@for_all(
    user=ANY, password=ANY, database=NAMES, host=st.sampled_from(["db", "/run/a b", "::1", "a,b", "@x", "fe80::1%eth0"])
)
def test_libpq_gets_exactly_what_stood_in_the_variables(user: str, password: str, database: str, host: str):
    found = usual(PGHOST=host, PGUSER=user, PGPASSWORD=password, PGDATABASE=database)
    assert (found["host"], found["user"], found["password"], found["dbname"]) == (host, user, password, database)
    assert found["name"] == database


def test_the_variables_open_the_database(pg_server):
    password = "p@ss/w:rd %41?#&='"
    with new_database(pg_server, 'my "blog" %41') as database:
        pg_server.psql(f"CREATE ROLE {identifier('a@b:c')} LOGIN PASSWORD {literal(password)}")
        try:
            config = load(
                None,
                {
                    "POSTGRES_HOST": "127.0.0.1",
                    "POSTGRES_PORT": str(conninfo_to_dict(database.tcp_uri)["port"]),
                    "POSTGRES_USER": "a@b:c",
                    "POSTGRES_PASSWORD": password,
                    "POSTGRES_DB": database.name,
                },
            )
            with psycopg.connect(config.sources[0].url) as connection:
                row = connection.execute("SELECT current_user, current_database()").fetchone()
            assert row == ("a@b:c", database.name)
        finally:
            pg_server.psql(f"DROP ROLE {identifier('a@b:c')}")


# --- service links ---


def links(service: str, address: str = "10.0.0.1") -> dict[str, str]:
    """What Kubernetes tells every container of a namespace of a service with two ports, the second one without a name."""
    prefix = service.upper().replace("-", "_")
    at = f"[{address}]" if ":" in address else address
    variables = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": "8080"}
    variables |= {f"{prefix}_SERVICE_PORT_0_8080": "8080", f"{prefix}_PORT": f"tcp://{at}:8080"}
    for port, protocol in ((8080, "tcp"), (53, "udp")):
        link = f"{prefix}_PORT_{port}_{protocol.upper()}"
        variables |= {link: f"{protocol}://{at}:{port}", f"{link}_PROTO": protocol}
        variables |= {f"{link}_PORT": str(port), f"{link}_ADDR": address}
    return variables


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1"])
@pytest.mark.parametrize(
    "service",
    [
        "dwebbackup",
        "dwebbackup-store",
        "dwebbackup-key",
        "dwebbackup-store-s3",
        "dwebbackup-port",
        "dwebbackup-x-service",
    ],
)
def test_links_to_a_service_called_like_us_are_no_settings(service: str, address: str):
    ours = {"DWEBBACKUP_STORE": "s3://bucket", "DWEBBACKUP_JOBS": "3"}
    ours |= {"DWEBBACKUP_STORE_S3_ACCESS_KEY_ID": "id", "DWEBBACKUP_STORE_S3_SECRET_ACCESS_KEY": "hunter2"}
    assert survey(None, ours | links(service, address)) == survey(None, ours)
    assert survey(None, ours)[1] == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8080"),
        ("PORT", "http://10.0.0.1:8080"),
        ("SERVICE_HOST", "db.example"),
        ("SERVICE_PORT", "http"),
        ("LISTEN_PORT", "8080"),
        ("PORT_8080_TCP", "8080"),
        ("STORE_PORT_8080_TCP_PROTO", "http"),
        ("STORE_S3_ACCESS_KEY", "tcp://10.0.0.1:8080"),
    ],
)
def test_what_somebody_mistook_for_a_setting_is_still_told(name: str, value: str):
    assert not is_service_link(name, value)
    assert f"DWEBBACKUP_{name} is not a variable of dwebbackup" in refusal(**{name: value})


def test_a_stores_secret_is_no_link_whatever_it_looks_like():
    names = ("STORE_PORT_ACCESS_KEY_ID", "STORE_PORT_SECRET_ACCESS_KEY")
    config = configured(STORE="s3://bucket?name=port", **dict.fromkeys(names, "8080"))
    assert config.stores[0].secrets
    assert config.stores[0].secrets.secret_access_key == "8080"


def test_links_to_the_database_do_not_lead_astray():
    linked = links("postgres", "10.0.0.9") | {"POSTGRES_HOST": "postgres"}
    assert linked["POSTGRES_PORT"] == "tcp://10.0.0.9:8080"
    assert usual(**linked) == usual(POSTGRES_HOST="postgres")
    assert usual(**linked, PGPORT="6000")["port"] == "6000"
    assert load(None, links("postgres")).sources == (), "a service is there, but nobody said that it is to be backed up"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("tcp://10.0.0.1:5433", ("10.0.0.1", "5433")),
        ("tcp://db", ("db", "5432")),
        ("tcp://[fd00::1]:5433/", ("fd00::1", "5433")),
    ],
)
def test_a_host_that_is_a_link_is_the_links_host(host: str, expected: tuple[str, str]):
    found = usual(POSTGRES_HOST=host)
    assert (found["host"], found["port"]) == expected
    assert usual(POSTGRES_HOST=host, POSTGRES_PORT="7000")["port"] == "7000"


def test_bytes_that_are_no_text_reach_libpq_as_they_are():
    url = load(None, {"PGHOST": "db", "PGPASSWORD": os.fsdecode(b"\xff@")}).sources[0].url
    assert url == "postgresql://postgres:%FF%40@db:5432/postgres"
