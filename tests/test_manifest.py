"""The records' JSON: every record comes back as it was; whatever is not exactly a record is refused."""

from __future__ import annotations

import dataclasses
import json
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import documents
from dwebbackup.documents import FORMAT, INTEGER_LIMIT, decode, encode
from dwebbackup.errors import Damaged, ToolMissing
from dwebbackup.manifest import (
    LARGEST_CHUNK,
    NAME_SIZE,
    Checkpoint,
    Extension,
    Genesis,
    Head,
    Index,
    Manifest,
    ManifestRef,
    Newest,
    ObjectRef,
    PackEntry,
    RunWriter,
    SourceFacts,
    SourceRecord,
    StoreNote,
    StreamRecord,
    Streams,
    expand,
)
from shelf import FACTS, digest_of, stream_of

# --- any record there can be ---

digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
texts = st.text(max_size=12)
numbers = st.integers(0, INTEGER_LIMIT - 1)
small = st.integers(0, 1 << 20)
seconds = st.floats(0, 1e9)


def lists(items: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(items, max_size=most).map(tuple)


@st.composite
def pack_entries(draw) -> PackEntry:
    rows = draw(st.integers(0, 4))
    frames = array("I", [draw(small) for _ in range(rows)])
    return PackEntry(
        sha256=draw(digests),
        size=draw(numbers),
        plain=sum(frames) + draw(small),
        recipients=draw(lists(texts)),
        names=draw(st.binary(min_size=rows * NAME_SIZE, max_size=rows * NAME_SIZE)),
        lengths=array("I", [draw(st.integers(1, LARGEST_CHUNK)) for _ in range(rows)]),
        frames=frames,
        links=draw(lists(texts)),
    )


triples = st.tuples(small, st.integers(-(1 << 20), 1 << 20), small)
runs = st.lists(triples, max_size=3).map(lambda parts: array("q", [number for part in parts for number in part]))
refs = st.builds(ObjectRef, digests, numbers, lists(texts))
manifest_refs = st.builds(ManifestRef, numbers, digests)
streams = st.builds(
    StreamRecord, texts, lists(texts), lists(texts), st.none() | numbers, numbers, numbers, numbers, runs
)
facts = st.builds(
    SourceFacts,
    *[texts] * 8,
    seconds,
    lists(st.builds(Extension, texts, texts)),
    lists(st.tuples(texts, texts)),
    lists(texts),
)
newest = st.builds(Newest, texts, texts, numbers, st.just("") | digests)
RECORDS = {
    Manifest: st.builds(
        Manifest,
        writer=texts,
        number=numbers,
        sequence=numbers,
        run=texts,
        started=texts,
        finished=texts,
        sources=lists(st.builds(SourceRecord, facts, lists(streams)), 2),
        indexes=lists(refs),
        sealed=texts,
        parents=lists(manifest_refs),
        kept=lists(manifest_refs),
        newest=lists(newest),
        stores=lists(st.builds(StoreNote, texts, texts, st.booleans())),
        spilled=st.none() | refs,
        next_by=texts,
        stored=numbers,
        packs=numbers,
        program=texts,
        retired=texts,
    ),
    Index: st.builds(Index, texts, lists(pack_entries())),
    Streams: st.builds(Streams, texts, texts, lists(lists(streams, 2), 2)),
    Checkpoint: st.builds(Checkpoint, texts, texts, numbers, texts, texts, lists(refs)),
    Head: st.builds(Head, texts, numbers, numbers, texts, refs, texts),
    Genesis: st.builds(Genesis, texts, numbers, texts),
}
KINDS = {record: record.__name__.lower() for record in RECORDS}
records = st.sampled_from(sorted(RECORDS, key=KINDS.get)).flatmap(lambda record: RECORDS[record])


@given(records)
def test_every_record_comes_back_as_it_was(record):
    kind = KINDS[type(record)]
    assert decode(kind, type(record), encode(kind, record)) == record


@given(records)
def test_a_record_is_plain_json_that_says_first_what_it_is(record):
    kind = KINDS[type(record)]
    value = json.loads(encode(kind, record))
    assert list(value)[:2] == ["format", "kind"]
    assert (value["format"], value["kind"]) == (FORMAT, kind)
    assert set(value) - {"format", "kind"} <= {entry.name for entry in dataclasses.fields(record)}


def test_what_is_as_usual_is_left_out():
    """An index has many thousand rows, and a manifest many streams: what nobody set takes no room."""
    value = json.loads(encode("manifest", MANIFEST))
    assert "retired" not in value
    assert "required" not in value["stores"][0]
    assert value["stores"][1]["required"] is False


# --- one honest record of each kind, to be spoiled ---

PACK = PackEntry(
    sha256=digest_of("pack"),
    size=5000,
    plain=4000,
    recipients=("66687aadf862bd77",),
    names=bytes(range(64)),
    lengths=array("I", [70_000, 16_384]),
    frames=array("I", [1500, 900]),
    links=("ipfs://bafk",),
)
MANIFEST = Manifest(
    writer="4985605054e90a3d438c",
    number=1,
    sequence=3,
    run="00112233aabbccdd",
    started="2026-11-20T03:00:00Z",
    finished="2026-11-20T03:01:00Z",
    sources=(
        SourceRecord(
            dataclasses.replace(FACTS, extensions=(Extension("citext", "1.6"),), details=(("collate", "C"),)),
            (stream_of([(0, 0, 70_000), (0, 1, 16_384)]), stream_of([], rows=None, kind="schema", path=())),
        ),
    ),
    indexes=(ObjectRef(digest_of("index"), 700),),
    sealed="YWdl",
    parents=(ManifestRef(2, digest_of("parent")),),
    kept=(ManifestRef(2, digest_of("parent")), ManifestRef(1, digest_of("first"))),
    newest=(Newest("app", "bytes:1", 3, ""), Newest("other", "bytes:2", 2, digest_of("parent"))),
    stores=(StoreNote("a", "file:///a"), StoreNote("b", "file:///b", required=False)),
)
HONEST = {
    "manifest": MANIFEST,
    "index": Index("4985605054e90a3d438c", (PACK,)),
    "streams": Streams("4985605054e90a3d438c", "00112233aabbccdd", (MANIFEST.sources[0].streams, ())),
    "checkpoint": Checkpoint("4985605054e90a3d438c", "00112233aabbccdd", 2, "s", "w", MANIFEST.indexes),
    "head": Head("4985605054e90a3d438c", 1, 3, "t", ObjectRef(digest_of("manifest"), 900)),
    "genesis": Genesis("4985605054e90a3d438c", 1, "t"),
}
MISSING = object()


def spoiled(kind: str, path: str, value: object) -> bytes:
    """The honest record with *value* at *path* (`packs.0.size`), or without anything there."""
    document = json.loads(encode(kind, HONEST[kind]))
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    place = document
    for step in way:
        place = place[step]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


def decoded(kind: str, document: bytes) -> object:
    return decode(kind, type(HONEST[kind]), document)


@pytest.mark.parametrize("kind", HONEST)
def test_the_honest_records_are_honest(kind):
    assert decoded(kind, encode(kind, HONEST[kind])) == HONEST[kind]


# --- what is not exactly a record ---

HALF = 0.5
WRONG_VALUES = [
    ("manifest", "sequence", True),
    ("manifest", "sequence", 3.0),
    ("manifest", "sequence", "3"),
    ("manifest", "sequence", None),
    ("manifest", "sequence", -1),
    ("manifest", "sequence", 2**53),
    ("manifest", "stored", -(2**53)),
    ("manifest", "writer", 1),
    ("manifest", "writer", None),
    ("manifest", "sources", {}),
    ("manifest", "sources.0", []),
    ("manifest", "sources.0.facts", None),
    ("manifest", "sources.0.facts.snapshot_seconds", "0.5"),
    ("manifest", "sources.0.facts.snapshot_seconds", True),
    ("manifest", "sources.0.facts.snapshot_seconds", 10**400),
    ("manifest", "sources.0.facts.details", [["collate"]]),
    ("manifest", "sources.0.facts.details", [["collate", "C", "C"]]),
    ("manifest", "sources.0.facts.details", ["ab"]),
    ("manifest", "sources.0.facts.notes", "a note"),
    ("manifest", "sources.0.streams.0.rows", HALF),
    ("manifest", "sources.0.streams.0.rows", False),
    ("manifest", "sources.0.streams.0.bytes", -1),
    ("manifest", "sources.0.streams.0.chunks", -1),
    ("manifest", "sources.0.streams.0.runs", [0, 0]),
    ("manifest", "sources.0.streams.0.runs", [0, 0, 2, 0]),
    ("manifest", "sources.0.streams.0.runs", [0, 0, 2.0]),
    ("manifest", "sources.0.streams.0.runs", [0, 0, True]),
    ("manifest", "sources.0.streams.0.runs", [0, 0, None]),
    ("manifest", "sources.0.streams.0.runs", [0, 2**53, 1]),
    ("manifest", "sources.0.streams.0.runs", [0, -(2**53), 1]),
    ("manifest", "sources.0.streams.0.runs", [0, 2**63, 1]),
    ("manifest", "sources.0.streams.0.runs", "002"),
    ("manifest", "sources.0.streams.0.path", ["public", 1]),
    ("manifest", "stores.0.required", 1),
    ("manifest", "parents.0.sequence", -1),
    ("manifest", "newest.0.sequence", -1),
    ("manifest", "spilled", []),
    ("manifest", "critical", {}),
    ("manifest", "critical", "retired"),
    ("manifest", "critical", [["retired"]]),
    ("manifest", "critical", [1]),
    ("index", "packs.0.names", "not base64!"),
    ("index", "packs.0.names", [0, 1]),
    ("index", "packs.0.names", "AAAA"),
    ("index", "packs.0.names", ""),
    ("index", "packs.0.lengths", [70_000]),
    ("index", "packs.0.lengths", [70_000, 16_384, 1]),
    ("index", "packs.0.lengths", [70_000, 0]),
    ("index", "packs.0.lengths", [70_000, -1]),
    ("index", "packs.0.lengths", [70_000, 1.0]),
    ("index", "packs.0.lengths", [70_000, True]),
    ("index", "packs.0.lengths", [70_000, "1"]),
    ("index", "packs.0.lengths", [70_000, LARGEST_CHUNK + 1]),
    ("index", "packs.0.lengths", [70_000, 2**32]),
    ("index", "packs.0.lengths", [70_000, 2**80]),
    ("index", "packs.0.lengths", {"0": 70_000}),
    ("index", "packs.0.frames", [1500]),
    ("index", "packs.0.frames", [3101, 900]),
    ("index", "packs.0.plain", 2399),
    ("index", "packs.0.plain", -1),
    ("index", "packs.0", None),
    ("checkpoint", "indexes.0.size", None),
    ("head", "manifest", digest_of("manifest")),
    ("genesis", "number", 2**53),
]


@pytest.mark.parametrize(("kind", "path", "value"), WRONG_VALUES)
def test_a_field_of_the_wrong_kind_is_damaged(kind, path, value):
    with pytest.raises(Damaged):
        decoded(kind, spoiled(kind, path, value))


DIGESTS = [
    ("manifest", "indexes.0.sha256"),
    ("manifest", "parents.0.sha256"),
    ("manifest", "kept.1.sha256"),
    ("manifest", "newest.1.sha256"),
    ("index", "packs.0.sha256"),
    ("checkpoint", "indexes.0.sha256"),
    ("head", "manifest.sha256"),
]


@pytest.mark.parametrize(("kind", "path"), DIGESTS)
@pytest.mark.parametrize(
    "digest",
    [
        "../../etc/passwd",
        "a" * 63,
        "a" * 65,
        "A" * 64,
        "g" * 64,
        "a" * 64 + "\n",
        "\u0660" * 64,
        "../" + "a" * 61,
        0,
        None,
    ],
)
def test_what_is_no_digest_never_becomes_a_path(kind, path, digest):
    with pytest.raises(Damaged):
        decoded(kind, spoiled(kind, path, digest))


@pytest.mark.parametrize(("kind", "path"), DIGESTS)
def test_an_empty_digest_is_for_the_manifest_that_cannot_name_itself(kind, path):
    document = spoiled(kind, path, "")
    if path == "newest.1.sha256":
        assert decoded(kind, document).newest[1].sha256 == ""
    else:
        with pytest.raises(Damaged):
            decoded(kind, document)


def required_fields() -> list[tuple[str, str]]:
    """As (kind, name)."""
    return [
        (kind, entry.name)
        for kind, record in HONEST.items()
        for entry in dataclasses.fields(record)
        if entry.default is dataclasses.MISSING
    ]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *required_fields(),
        ("manifest", "sources.0.facts.identity"),
        ("manifest", "sources.0.streams.1.rows"),
        ("manifest", "indexes.0.size"),
        ("index", "packs.0.recipients"),
    ],
)
def test_a_missing_field_is_damaged(kind, path):
    with pytest.raises(Damaged, match="is missing"):
        decoded(kind, spoiled(kind, path, MISSING))


def test_a_missing_field_that_has_a_usual_value_has_that():
    plain = dataclasses.replace(MANIFEST, stores=(StoreNote("b", "file:///b"),))
    assert decoded("manifest", spoiled("manifest", "stores", [{"name": "b", "url": "file:///b"}])) == plain
    assert decoded("manifest", spoiled("manifest", "retired", "")) == MANIFEST
    assert decoded("manifest", spoiled("manifest", "sources.0.facts.extensions", MISSING)) != MANIFEST


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b'"genesis"',
        b"{}",
        b'{"format":1}',
        b'{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t"',
        b'{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t"} ,',
        b'{"format":1,"kind":"genesis","writer":"w","writer":"w","number":1,"time":"t"}',
        b'{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t","x":{"a":1,"a":1}}',
        b'{"format":1,"kind":"genesis","writer":"w","number":NaN,"time":"t"}',
        b'{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t","x":NaN}',
        b'{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t","x":-Infinity}',
        b'{"format":1,"kind":"genesis","writer":"w","number":1e0,"time":"t"}',
        b'{"format":1,"kind":"genesis","writer":"w","number":' + b"9" * 5000 + b',"time":"t"}',
        b'{"format":1,"kind":"genesis","writer":"\xff","number":1,"time":"t"}',
        b'{"format":1,"kind":"genesis","writer":"\n","number":1,"time":"t"}',
        b'\xef\xbb\xbf{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t"}',
        '{"format":1,"kind":"genesis","writer":"w","number":1,"time":"t"}'.encode("utf-16"),
        b'{"format":1,"kind":"head","writer":"w","number":1,"time":"t"}',
        b'{"format":0,"kind":"genesis","writer":"w","number":1,"time":"t"}',
        b'{"format":true,"kind":"genesis","writer":"w","number":1,"time":"t"}',
        b'{"format":"1","kind":"genesis","writer":"w","number":1,"time":"t"}',
        b'{"kind":"genesis","writer":"w","number":1,"time":"t"}',
        b'{"format":1,"writer":"w","number":1,"time":"t"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_not_one_proper_json_object_is_damaged(document):
    with pytest.raises(Damaged):
        decode("genesis", Genesis, document)


def test_fields_that_nobody_asks_for_are_as_usual_whatever_they_are():
    document = spoiled("manifest", "parents", "nonsense")
    assert decode("manifest", Manifest, document, ("parents", "kept")).parents == ()
    assert decode("manifest", Manifest, encode("manifest", MANIFEST), ("parents",)) == dataclasses.replace(
        MANIFEST, parents=()
    )


@pytest.mark.parametrize("place", ["parents", "sources.0.facts"])
def test_fields_that_are_asked_for_are_read_as_strictly(place):
    with pytest.raises(Damaged):
        decode("manifest", Manifest, spoiled("manifest", place, "nonsense"), ("kept", "history"))


def test_a_key_that_stands_twice_is_damaged_where_nobody_asks_for_it_too():
    document = encode("manifest", MANIFEST).replace(b'"parents":', b'"parents":[],"parents":')
    with pytest.raises(Damaged, match="twice"):
        decode("manifest", Manifest, document, ("parents",))


def test_one_document_at_a_time_is_decoded(monkeypatch):
    """What is half decoded takes ten times the memory of its text."""
    locked = []
    build = documents._build
    monkeypatch.setattr(
        documents, "_build", lambda *each: [locked.append(documents._DECODING.locked()), build(*each)][1]
    )
    assert decoded("manifest", encode("manifest", MANIFEST)) == MANIFEST
    assert all(locked)
    with pytest.raises(Damaged):
        decoded("manifest", b"nonsense")
    assert not documents._DECODING.locked()


@pytest.mark.parametrize("kind", HONEST)
@pytest.mark.parametrize("other", HONEST)
def test_a_record_of_one_kind_is_not_one_of_another(kind, other):
    if kind != other:
        with pytest.raises(Damaged):
            decoded(other, encode(kind, HONEST[kind]))


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400)
    | st.just("0" * 64),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: object, way: str = "") -> list[str]:
    """Every path in a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for step, inner in steps:
        found += [f"{way}{step}", *places(inner, f"{way}{step}.")]
    return found


PLACES = [(kind, place) for kind, record in HONEST.items() for place in places(json.loads(encode(kind, record)))]


@given(st.sampled_from(PLACES), anything)
def test_whatever_stands_in_a_field_is_taken_or_refused_and_nothing_else(place, value):
    kind, path = place
    try:
        record = decoded(kind, spoiled(kind, path, value))
    except (Damaged, ToolMissing):
        return
    assert decoded(kind, encode(kind, record)) == record


# --- newer versions ---


@pytest.mark.parametrize("kind", HONEST)
def test_a_record_of_a_newer_format_asks_for_a_newer_program(kind):
    with pytest.raises(ToolMissing, match="format 2"):
        decoded(kind, spoiled(kind, "format", FORMAT + 1))
    with pytest.raises(ToolMissing):
        decoded(kind, json.dumps({"format": 2, "kind": kind}).encode())


@pytest.mark.parametrize("kind", HONEST)
def test_unknown_fields_are_ignored(kind):
    document = json.loads(encode(kind, HONEST[kind])) | {"novel": {"anything": [1.5, None]}}
    assert decoded(kind, json.dumps(document).encode()) == HONEST[kind]


def test_unknown_fields_further_in_are_ignored():
    for path in ("sources.0.novel", "sources.0.streams.0.novel", "stores.0.novel", "indexes.0.novel"):
        assert decoded("manifest", spoiled("manifest", path, [])) == MANIFEST


@pytest.mark.parametrize("kind", HONEST)
def test_unknown_fields_that_are_critical_ask_for_a_newer_program(kind):
    with pytest.raises(ToolMissing, match="novel"):
        decoded(kind, spoiled(kind, "critical", ["writer", "novel"]))


@pytest.mark.parametrize("kind", ["manifest", "index", "streams", "checkpoint"])
def test_known_fields_may_be_critical(kind):
    assert decoded(kind, spoiled(kind, "critical", ["writer"])).critical == ("writer",)


# --- names ---


@given(st.integers(0, 9_999_999_999), digests)
def test_a_manifests_file_name_comes_back(sequence, digest):
    ref = ManifestRef(sequence, digest)
    assert ManifestRef.parse_name(ref.name) == ref


def test_manifests_sort_by_their_names():
    names = [ManifestRef(sequence, digest_of("x")).name for sequence in (1, 9, 10, 99, 100, 1_000_000)]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "head.json",
        f"42-{digest_of('x')}.age",
        f"0000000042-{digest_of('x')}",
        f"0000000042-{digest_of('x')}.age.tmp",
        f"0000000042-{digest_of('x')}.age\n",
        f"0000000042-{digest_of('x').upper()}.age",
        f"00000000042-{digest_of('x')}.age",
    ],
)
def test_other_file_names_are_no_manifests(name):
    assert ManifestRef.parse_name(name) is None


# --- runs ---


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.data())
def test_runs_expand_to_what_they_were_made_of(rows, data):
    chunk = st.sampled_from([(index, row) for index, count in enumerate(rows) for row in range(count)] or [None])
    chunks = [each for each in data.draw(st.lists(chunk | stretches(rows), max_size=20)) if each is not None]
    flat = [one for each in chunks for one in (each if isinstance(each, list) else [each])]
    writer = RunWriter()
    for index, row in flat:
        writer.add(index, row)
    spans = list(expand(writer.runs, rows))
    whole = RunWriter()
    for span in spans:
        whole.add(*span)
    assert whole.runs == writer.runs
    assert [(index, first + at) for index, first, count in spans for at in range(count)] == flat


def stretches(rows: list[int]) -> st.SearchStrategy:
    """Rows one after the other, as a stream mostly has them."""
    return st.builds(
        lambda index, first, count: [(index, row) for row in range(first, min(first + count, rows[index]))],
        st.integers(0, len(rows) - 1),
        st.integers(0, 30),
        st.integers(0, 30),
    )


def test_consecutive_chunks_are_one_run():
    writer = RunWriter()
    for index, row in [(0, 5), (0, 6), (0, 7), (1, 0), (0, 8), (0, 2)]:
        writer.add(index, row)
    assert writer.runs == array("q", [0, 5, 3, 1, 0, 1, 0, 0, 1, 0, -7, 1])


@pytest.mark.parametrize(
    "runs",
    [
        [2, 0, 1],
        [-1, 0, 1],
        [0, -1, 1],
        [0, 0, 11],
        [0, 10, 1],
        [0, 0, 0],
        [0, 3, -1],
        [0, 0, 2**52],
        [1, 0, 1],
        [0, 5, 1, 0, 0, 5],
        [0, 5, 1, 0, -7, 1],
    ],
)
def test_runs_that_leave_their_index_are_damaged(runs):
    """The first index has ten rows, the second none."""
    with pytest.raises(Damaged):
        list(expand(runs, [10, 0]))
