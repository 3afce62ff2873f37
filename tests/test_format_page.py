"""docs/format.md says what the code does: every field with its type, every limit, every example."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import types
import typing
from pathlib import Path

import pytest

from dwebbackup import age, manifest, records
from dwebbackup.compression import skippable_frame
from dwebbackup.errors import ToolMissing
from dwebbackup.keys import OwnerKey
from dwebbackup.manifest import ManifestRef, SourceRecord, expand, index_path, pack_path
from dwebbackup.packing import PADDING
from dwebbackup.ports import TargetOptions
from dwebbackup.sources.postgres import PostgresTarget, census
from dwebbackup.sources.postgres.connection import Server
from dwebbackup.sources.postgres.target import KINDS
from dwebbackup.stores import check_name
from shelf import FACTS, digest_of, stream_of

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text()


def sections(level: str) -> dict[str, str]:
    """The text below each heading of that level."""
    parts = re.split(rf"^{level} (.+)$", PAGE, flags=re.MULTILINE)
    texts = (re.split(rf"^{level[1:] or level} ", text, flags=re.MULTILINE)[0] for text in parts[2::2])
    return dict(zip(parts[1::2], texts, strict=True))


def table(text: str) -> list[list[str]]:
    """The cells of the only table in *text*, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert re.fullmatch(r"[|-]+", lines[1])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def part(number: int) -> str:
    (text,) = (text for title, text in sections("##").items() if title.startswith(f"{number}. "))
    return text


# --- fields ---

RECORDS = {
    name: record
    for name, record in vars(manifest).items()
    if dataclasses.is_dataclass(record) and name not in ("StreamSpec", "RunWriter")
}
FIELDS = {title: text for title, text in sections("###").items() if title in RECORDS}


def test_every_record_has_its_table_and_every_table_its_record():
    assert set(FIELDS) == set(RECORDS)


def spelled(hint: object) -> str:
    """A field's type as the page writes it."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return f"{spelled(arguments[0])} or null"
    if typing.get_origin(hint) is tuple:
        return "[" + ", ".join(spelled(argument) for argument in arguments if argument is not Ellipsis) + "]"
    if typing.get_origin(hint) is typing.Annotated:
        return {"I": "sizes", "q": "[integer]"}[hint.__metadata__[0]]
    names = {str: "string", int: "integer", float: "number", bool: "boolean", bytes: "bytes"}
    return names.get(hint) or hint.__name__


def usual(entry: dataclasses.Field) -> str:
    if entry.default is dataclasses.MISSING:
        return "required"
    return f"`{json.dumps(list(entry.default) if isinstance(entry.default, tuple) else entry.default)}`"


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_stands_in_the_page_with_its_type_and_usual_value(name):
    hints = typing.get_type_hints(RECORDS[name], include_extras=True)
    expected = [
        [f"`{entry.name}`", "digest" if entry.name == "sha256" else spelled(hints[entry.name]), usual(entry)]
        for entry in dataclasses.fields(RECORDS[name])
    ]
    assert [row[:3] for row in table(FIELDS[name])] == expected


def test_the_kinds_of_records_are_named():
    for record in (manifest.Manifest, manifest.Index, manifest.Streams, manifest.Checkpoint):
        assert f"`{records.kind_of(record)}`" in part(5)
    assert records.label("KIND") == b"dwebbackup/KIND/1\0"
    assert '"dwebbackup/" ‖ kind ‖ "/1\\0"' in part(5)


# --- limits ---


def limits() -> dict[str, int]:
    """As the page names them: `module.NAME` and value."""
    return {row[2].strip("`"): int(row[1].replace(",", "")) for row in table(part(13))}


@pytest.mark.parametrize(("name", "value"), limits().items())
def test_every_limit_is_the_codes(name, value):
    module, _, constant = name.partition(".")
    assert getattr(importlib.import_module(f"dwebbackup.{module}"), constant) == value


def test_the_limits_are_there():
    assert len(limits()) == 12


# --- layouts ---


def test_frames_look_as_the_page_says():
    signed = skippable_frame(bytes(96), records.SIGNATURE)
    for begins in (signed[:4], signed[4:8], skippable_frame(b"", PADDING)[:4]):
        assert f"`{begins.hex(' ')}`" in part(5)


def test_objects_are_named_as_the_page_says():
    """Its ABNF, as a regular expression."""
    rules = dict(re.findall(r"^    (\w+) +=((?:[^;\n]|\n {14})+)", part(3), flags=re.MULTILINE))
    assert rules["manifest"].strip() == '"manifests/" sequence "-" digest ".age"'
    item = expression("item", rules)
    digest = digest_of("x")
    honest = [
        "head.json",
        "genesis.json",
        f"manifests/{ManifestRef(42, digest).name}",
        index_path(digest),
        pack_path(digest),
        f"checkpoints/{'a' * 16}-12.age",
    ]
    for name in honest:
        check_name(name)
        assert item.fullmatch(name)
        assert not item.fullmatch(name.upper())
        assert not item.fullmatch(name + "x")


def expression(rule: str, rules: dict[str, str]) -> re.Pattern[str]:
    """One rule of the page's ABNF."""
    core = {"DIGIT": "[0-9]", "%x61-66": "[a-f]"}

    def translated(name: str) -> str:
        words = re.findall(r'"[^"]*"|[^\s/"]+|/', rules[name])
        return "(?:" + "".join("|" if word == "/" else one(word) for word in words) + ")"

    def one(word: str) -> str:
        if word.startswith('"'):
            return re.escape(word.strip('"'))
        count, name = re.fullmatch(r"(\d*\*?)(\D.*)", word).groups()
        times = {"": "", "1*": "+"}.get(count, f"{{{count}}}")
        return (core.get(name) or translated(name)) + times

    return re.compile(translated(rule))


# --- examples ---


def test_the_example_of_runs_is_right():
    text = part(8)
    rows = [int(number) for number in re.search(r"indexes of (\d+) and (\d+) rows", text).groups()]
    runs = json.loads(re.search(r"`(\[[-\d, ]+\])`", text)[1])
    triples = [[int(number) for number in row[0].strip("`").split(",")] for row in table(text)]
    spans = [(int(row[1]), *map(int, row[2].split(" to "))) for row in table(text)]
    assert [number for triple in triples for number in triple] == runs
    assert [(index, first, first + count - 1) for index, first, count in expand(runs, rows)] == spans


def test_the_keys_to_check_with_are_right():
    text = part(14)
    owner = OwnerKey(bytes.fromhex(re.search(r"entropy `([0-9a-f]{64})`", text)[1]))
    writer = owner.writer(1)
    assert {row[0]: row[1].strip("`") for row in table(text)} == {
        "age recipient of the owner": age.recipient_text(owner.recipient),
        "id of writer 1": writer.id,
        "verify key of writer 1": writer.verify_key.hex(),
        "chunk key of writer 1": writer.chunk_key.hex(),
        "reader key line of writer 1": owner.reader(1).line,
    }


# --- PostgreSQL ---


def test_the_kinds_of_a_postgresql_sources_streams_are_all_named():
    kinds = table(part(11).partition("Streams stand")[0])
    assert {row[0].strip("`") for row in kinds} == KINDS


def test_the_properties_of_a_database_are_all_named(database):
    with Server(database.uri).connect() as connection:
        properties = json.loads(census.properties(connection))
    described = {row[0].strip("`"): row[1] for row in table(part(11).partition("is an object of")[2])}
    assert set(properties) == set(described)
    assert properties["roles"]
    for name, fields in (("database", properties["database"]), ("roles", properties["roles"][0])):
        assert set(fields) <= set(re.findall(r"`(\w+)`", described[name]))


def test_a_stream_of_a_kind_that_nobody_knows_is_refused(target_database):
    """Part 12: else an older program would bring back most of a database, and call it done."""
    source = SourceRecord(dataclasses.replace(FACTS, kind="postgres"), (stream_of([], kind="novel"),))
    target = PostgresTarget(target_database.uri)
    for attempt in (target.plan, target.load):
        with pytest.raises(ToolMissing, match="novel"):
            attempt(source, lambda _: iter(()), TargetOptions())
