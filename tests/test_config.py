"""Options over environment over YAML; secrets stay hidden; mistakes are named."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from configuring import configured, refusal, secret_file
from dwebbackup.config import Config, Given, StoreSecrets, load, survey
from dwebbackup.config.urls import parse_source
from dwebbackup.errors import WrongConfiguration

URL = "postgresql://app:hunter2@db:5432/blog"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's configuration but the test's: here, and at home."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_nothing_configured_is_no_error():
    assert configured() == Config()


def test_variables_are_enough_for_one_database():
    config = configured(SOURCE=URL, STORE="file:///backups", KEY=" some words\n", JOBS="4")
    assert [(source.name, source.url) for source in config.sources] == [("blog", URL)]
    assert [(store.url, store.name) for store in config.stores] == [("file:///backups", "")]
    assert (config.key, config.jobs) == ("some words", 4)


def test_options_win_over_variables_and_these_over_the_file():
    text = "jobs: 3\ntarget: postgresql://file/db\nstores: [{url: 'file:///file'}]"
    given = Given(stores=("file:///option",), target="postgresql://option/db", jobs=5)
    assert configured(text).jobs == 3
    assert configured(text, JOBS="4").jobs == 4
    assert configured(text, given, JOBS="4").jobs == 5
    assert configured(text).stores[0].url == "file:///file"
    assert configured(text, STORE="file:///variable").stores[0].url == "file:///variable"
    assert configured(text, given, STORE="file:///variable").stores[0].url == "file:///option"
    assert configured(text, TARGET="postgresql://variable/db").target == "postgresql://variable/db"
    assert configured(text, given, TARGET="postgresql://variable/db").target == "postgresql://option/db"


def test_how_long_a_snapshot_may_be_open_is_a_length_of_time():
    text = "max_snapshot: 2h"
    assert configured(text).max_snapshot == 7200
    assert configured(text, MAX_SNAPSHOT="30m").max_snapshot == 1800
    assert configured(text, Given(max_snapshot="90s"), MAX_SNAPSHOT="30m").max_snapshot == 90
    assert configured(MAX_SNAPSHOT="").max_snapshot == 7200
    assert "DWEBBACKUP_MAX_SNAPSHOT is not a length of time" in refusal(MAX_SNAPSHOT="30")
    assert "--max-snapshot is not a length of time" in refusal("", Given(max_snapshot="soon"))


def test_an_empty_variable_was_not_given():
    assert configured("jobs: 3", JOBS="", SOURCE=" ").jobs == 3


def test_the_file_is_found_here_then_at_home_and_where_the_option_says(home: Path):
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "dwebbackup.yaml").write_text("jobs: 7")
    Path("other.yaml").write_text("jobs: 9")
    assert configured().jobs == 7
    assert configured("jobs: 8").jobs == 8
    assert configured(given=Given(config="other.yaml")).jobs == 9
    assert "cannot read none.yaml" in refusal("", Given(config="none.yaml"))


def test_the_file_at_home_is_where_the_desktop_keeps_such_files(tmp_path: Path):
    (tmp_path / "xdg").mkdir()
    (tmp_path / "xdg" / "dwebbackup.yaml").write_text("jobs: 6")
    assert load(None, {"XDG_CONFIG_HOME": f"{tmp_path}/xdg"}).jobs == 6
    Path("xdg").mkdir()
    Path("xdg/dwebbackup.yaml").write_text("jobs: 5")
    assert load(None, {"XDG_CONFIG_HOME": "xdg"}) == Config(), "one that is relative does not count"


def test_every_fault_is_told_and_the_rest_is_read(tmp_path: Path):
    Path("dwebbackup.yaml").write_text(
        "sources: [{url: 'postgresql://h/one'}, {nam: two}, {url: nonsense}]\n"
        "stores: [{url: 'file:///one'}, {url: 's3://u:p@two'}]\njbos: 4\nrecipients: [{}]\n"
    )
    variables = {"DWEBBACKUP_SORCE": "x", "DWEBBACKUP_JOBS": "many", "DWEBBACKUP_KEY_FILE": "/none"}
    config, faults = survey(Given(target="postgresql://u:secret@h/db"), variables)
    told = [str(fault) for fault in faults]
    assert told == [
        "dwebbackup.yaml: there is no setting 'jbos'",
        "recipients in dwebbackup.yaml is not a plain value",
        "DWEBBACKUP_SORCE is not a variable of dwebbackup",
        "--to: everybody on this machine can see a password on the command line",
        "sources in dwebbackup.yaml: there is no setting 'nam'",
        "sources in dwebbackup.yaml: an entry has no url",
        "a source is not a URL",
        "a store's URL has a user in it",
        "DWEBBACKUP_KEY_FILE: cannot read /none: No such file or directory",
        "DWEBBACKUP_JOBS is not a number from 1 to 64",
    ]
    assert [source.name for source in config.sources] == ["one"]
    assert [store.url for store in config.stores] == ["file:///one"]
    with pytest.raises(WrongConfiguration, match="jbos"):
        load(None, variables)


def test_a_whole_file(tmp_path: Path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "key").write_text("words\n")
    (folder / "key").chmod(0o600)
    (folder / "url").write_text(URL)
    (folder / "url").chmod(0o600)
    (folder / "c.yaml").write_text(
        "sources: [{name: first, url_file: url}, {url: 'postgresql://h/second'}]\n"
        "stores: [{url: 'file:///backups', name: disk}]\n"
        "key_file: key\nrecipients: [age1a, age1b]\npostgres_bin: /opt/pg\ntarget:\n"
    )
    config = configured(given=Given(config=str(folder / "c.yaml")))
    assert [(source.name, source.url) for source in config.sources] == [
        ("first", URL),
        ("second", "postgresql://h/second"),
    ]
    assert (config.stores[0].name, config.key, config.recipients) == ("disk", "words", ("age1a", "age1b"))
    assert (config.postgres_bin, config.target, config.warnings) == ("/opt/pg", "", ())


@pytest.mark.parametrize("name", ["SOURCE", "KEY", "TARGET"])
def test_every_secret_can_stand_in_a_file(name: str):
    path = secret_file("secret", f"{URL}\n")
    assert configured(**{f"{name}_FILE": path}) == configured(**{name: URL})
    message = refusal(**{name: URL, f"{name}_FILE": path})
    assert f"DWEBBACKUP_{name} and DWEBBACKUP_{name}_FILE are both given" in message
    assert "hunter2" not in message


def test_a_key_file_that_everybody_can_read_earns_a_warning():
    assert "chmod 600" in configured(KEY_FILE=secret_file("open", "words", 0o644)).warnings[0]
    assert configured(KEY_FILE=secret_file("closed", "words", 0o640)).warnings == ()


def test_a_key_file_that_is_of_no_use_is_an_error():
    assert "is empty" in refusal(KEY_FILE=secret_file("empty", " \n"))
    assert "too large" in refusal(KEY_FILE=secret_file("large", "x" * 70000))
    assert "cannot read nowhere" in refusal(KEY_FILE="nowhere")
    Path("bytes").write_bytes(b"\xff\xfe")
    assert "is not text" in refusal(KEY_FILE="bytes")


def test_a_key_that_nobody_wants_is_not_read():
    assert load(None, {"DWEBBACKUP_KEY_FILE": "nowhere"}, with_key=False).key == ""


def test_secrets_do_not_show():
    config = configured(SOURCE=URL, TARGET=URL, KEY="hunter2")
    assert config.key == "hunter2"
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("arguments", "name", "closest"),
    [
        (("",), "DWEBBACKUP_SORCE", "DWEBBACKUP_SOURCE"),
        (("",), "DWEBBACKUP_STORE_FILE", "DWEBBACKUP_"),
        (("source: x",), "source", "sources"),
        (("key: x",), "key", "key_file"),
        (("sources: [{uri: x}]",), "uri", "url"),
        (("stores: [{url: 'file:///a', nam: b}]",), "nam", "name"),
    ],
)
def test_what_is_not_known_is_named_with_the_closest(arguments: tuple[str], name: str, closest: str):
    variables = {name.removeprefix("DWEBBACKUP_"): "x"} if name.isupper() else {}
    message = refusal(*arguments, **variables)
    assert name in message
    assert f"did you mean {closest}" in message


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", "sources: 3", "sources: [x]", "sources: [{name: a}]", "jobs: [[1]]", "jobs: {a: 1}", "a: b: c"],
)
def test_a_file_of_the_wrong_shape_is_an_error_that_names_it(text: str):
    assert "dwebbackup.yaml" in refusal(text)


def test_broken_yaml_is_not_quoted():
    message = refusal("jobs: 2\nkey_file: [hunter2")
    assert "line " in message
    assert "hunter2" not in message


@pytest.mark.parametrize("jobs", ["0", "65", "-1", "2.5", "many", "²"])
def test_jobs_are_a_sensible_number(jobs: str):
    assert "DWEBBACKUP_JOBS is not a number from 1 to 64" in refusal(JOBS=jobs)
    assert "--jobs is not" in refusal("", Given(jobs=0))


# --- sources ---


@pytest.mark.parametrize(
    ("url", "name", "bare"),
    [
        ("postgresql://h/blog", "blog", "postgresql://h/blog"),
        ("postgres://u:p@h:1,h2:2/blog?sslmode=require", "blog", "postgres://u:p@h:1,h2:2/blog?sslmode=require"),
        ("postgresql:///blog?host=/run&name=main&port=1", "main", "postgresql:///blog?host=/run&port=1"),
        ("postgresql://h/blog?name=my%20blog", "my blog", "postgresql://h/blog"),
        ("postgresql://h/bl%C3%B6g", "blög", "postgresql://h/bl%C3%B6g"),
        ("postgresql://h?dbname=blog", "blog", "postgresql://h?dbname=blog"),
        ("postgresql://app@h", "app", "postgresql://app@h"),
        ("postgresql://", "database", "postgresql://"),
        ("postgresql://u:a?b#c@h/blog", "blog", "postgresql://u:a?b#c@h/blog"),
    ],
)
def test_a_source_is_called_after_its_database_unless_it_says_otherwise(url: str, name: str, bare: str):
    source = parse_source(url)
    assert (source.name, source.url) == (name, bare)


@for_all(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=60))
def test_any_database_name_survives_the_url(name: str):
    if "://" not in name:
        assert parse_source(f"postgresql://h/{quote(name, safe='')}?sslmode=allow").name == name


@pytest.mark.parametrize("name", ["x" * 65, "a%0Ab", "%20a", "a%3A//b"])
def test_a_name_that_would_confuse_is_refused(name: str):
    assert "a source's name" in refusal(SOURCE=f"postgresql://h/blog?name={name}")


@pytest.mark.parametrize(
    "url", ["postgresql://u:hunt%er2@h/d", "postgresql://u:hunter2@x@h/d", "postgresql://u:h/unter2@h/d"]
)
def test_passwords_that_libpq_would_take_apart_and_show_are_refused_unseen(url: str):
    for message in (refusal(SOURCE=url), refusal(TARGET=url)):
        assert "special character" in message
        assert "unt" not in message


def test_several_sources_have_different_names():
    config = configured(SOURCE="postgresql://a/blog\n  postgresql://b/blog?name=other")
    assert [source.name for source in config.sources] == ["blog", "other"]
    assert "same name" in refusal(SOURCE="postgresql://a/blog postgresql://b/blog")


def test_the_option_picks_sources_by_name_or_brings_its_own():
    text = "sources: [{url: 'postgresql://h/a'}, {url: 'postgresql://h/b'}]"
    assert [source.name for source in configured(text, Given(sources=("b",))).sources] == ["b"]
    assert [source.name for source in configured(text, Given(sources=("postgresql://h/c",))).sources] == ["c"]
    assert "there is no source 'aa' (did you mean a?)" in refusal(text, Given(sources=("aa",)))
    both = Given(sources=("postgresql://h/c", "a", "postgresql://h/d"))
    assert [source.name for source in configured(text, both).sources] == ["c", "d", "a"]
    assert [source.name for source in configured(text, Given(sources=("a", "postgresql://g/a"))).sources] == ["a"]


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgresql://db/blog?password=hunter2",
        "postgresql://h/d?x=1&sslpassword=hunter2",
        "host=h password=hunter2",
    ],
)
def test_a_password_on_the_command_line_is_refused_unseen(url: str):
    for given in (Given(sources=(url,)), Given(target=url), Given(stores=(url,))):
        message = refusal("", given)
        assert "command line" in message
        assert "PGPASSWORD" in message
        assert "hunter2" not in message
    assert configured(given=Given(target="postgresql://app@db/blog?sslmode=allow")).target


# --- stores ---


def test_a_store_has_the_options_of_its_kind():
    store = configured(STORE="file:///backups?name=disk").stores[0]
    assert (store.url, store.name, store.called, store.kind) == ("file:///backups", "disk", "disk", "file")
    assert "no option 'nmae'" in refusal(STORE="file:///backups?nmae=disk")
    assert "no option 'region' (there is: name, required, deletes)" in refusal(STORE="file:///backups?region=eu")
    assert "region twice" in refusal(STORE="s3://bucket?region=a&region=b")
    assert "a store's name" in refusal(STORE="file:///backups?name=My%20Disk")
    assert "a store is not a URL" in refusal(STORE="/backups")


def test_a_buckets_url_keeps_its_options_and_loses_its_name():
    url = "s3://bucket/a?endpoint=https://s3.example&name=far&path_style=yes"
    store = configured(STORE=url).stores[0]
    assert (store.url, store.called) == ("s3://bucket/a?endpoint=https://s3.example&path_style=yes", "far")
    assert [store.called for store in configured(STORE="s3://bucket file:///a").stores] == ["s3", "local"]


def test_two_stores_have_different_names():
    assert "same name" in refusal(STORE="s3://one s3://two")
    assert "same name" in refusal("stores: [{url: 's3://one', name: a}, {url: 's3://two', name: a}]")
    assert "share the variables" in refusal(STORE="s3://one?name=a-b s3://two?name=a_b")


def test_what_a_buckets_url_leaves_open_awss_variables_say():
    aws = {"AWS_ENDPOINT_URL": "https://any", "AWS_ENDPOINT_URL_S3": "https://s3:1/a b", "AWS_DEFAULT_REGION": "eu"}
    urls = {
        "s3://bucket": "s3://bucket?endpoint=https://s3:1/a%20b&region=eu",
        "s3://bucket?endpoint=https://mine&name=a": "s3://bucket?endpoint=https://mine&region=eu",
        "s3://bucket?region=mine": "s3://bucket?region=mine&endpoint=https://s3:1/a%20b",
        "file:///backups": "file:///backups",
    }
    for url, whole in urls.items():
        assert load(None, aws | {"DWEBBACKUP_STORE": url}).stores[0].url == whole
    aws |= {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": "us"}
    assert load(None, aws | {"DWEBBACKUP_STORE": "s3://b"}).stores[0].url == "s3://b?endpoint=https://any&region=us"


def test_a_store_finds_its_secrets_by_its_name():
    secret = secret_file("secret", "hunter2\n")
    config = configured(
        STORE="s3://one?name=my-bucket s3://two file:///three",
        STORE_MY_BUCKET_ACCESS_KEY_ID="id",
        STORE_MY_BUCKET_SECRET_ACCESS_KEY_FILE=secret,
        STORE_S3_ACCESS_KEY_ID="other",
        STORE_S3_SECRET_ACCESS_KEY="hunter3",
        STORE_S3_SESSION_TOKEN="hunter4",
    )
    assert [store.secrets for store in config.stores] == [
        StoreSecrets("id", "hunter2"),
        StoreSecrets("other", "hunter3", "hunter4"),
        None,
    ]
    assert config.warnings == ()
    assert "hunter" not in repr(config)
    assert "other" not in repr(config.stores[1].secrets)


def test_half_an_access_key_is_named():
    for half in ({"ACCESS_KEY_ID": "id"}, {"SECRET_ACCESS_KEY": "hunter2"}, {"SESSION_TOKEN": "hunter2"}):
        message = refusal(STORE="s3://bucket", **{f"STORE_S3_{name}": value for name, value in half.items()})
        assert "store s3 has only a part of its access key" in message
        assert "DWEBBACKUP_STORE_S3_ACCESS_KEY_ID" in message
        assert "hunter2" not in message


def test_secrets_of_a_store_that_is_not_configured_earn_a_warning():
    (warning,) = configured(STORE="s3://bucket", STORE_S4_ACCESS_KEY_ID="hunter2").warnings
    assert warning == "DWEBBACKUP_STORE_S4_ACCESS_KEY_ID is for a store that is not configured"
    assert configured(STORE="s3://bucket", STORE_S4_ACCESS_KEY_ID="").warnings == ()


def test_secrets_in_a_stores_url_are_refused_unseen():
    for url in ("s3://id:hunter2@bucket", "s3://hunter2@bucket/a"):
        message = refusal(STORE=url)
        assert "ACCESS_KEY_ID" in message
        assert "hunter2" not in message


def test_the_environment_is_asked_when_nobody_gives_one(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("DWEBBACKUP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DWEBBACKUP_JOBS", "6")
    assert load().jobs == 6


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1K", 1024), ("800K", 819_200), ("5M", 5_242_880), ("1.5G", 1_610_612_736), ("4096", 4096), ("", None)],
)
def test_a_rate_is_bytes_a_second(text: str, rate: int | None):
    assert configured(RATE=text).rate == rate
    assert configured(given=Given(rate=text), RATE="9K").rate == (rate or 9216)
    assert configured(f"rate: {text}").rate == rate


@pytest.mark.parametrize("text", ["0", "1023", "0.9K", "fast", "5 M", "5MB", "5m", "-1M", "1e6", "²", "M", "5MM"])
def test_what_is_no_rate_is_refused(text: str):
    assert "RATE is not a number of bytes a second, from 1K (write 800K or 5M)" in refusal(RATE=text)
    assert "--rate is not" in refusal("", Given(rate=text))
