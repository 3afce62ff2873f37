"""Small parts of the MySQL source, with whatever could be put into them: names, values, markers, addresses."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup.errors import Damaged, WrongConfiguration
from dwebbackup.sources.mysql import definitions, refusals
from dwebbackup.sources.mysql.address import Address
from dwebbackup.sources.mysql.client import RowStream
from dwebbackup.sources.mysql.connection import Version
from dwebbackup.sources.mysql.definitions import Definition, Definitions
from dwebbackup.sources.mysql.filler import values
from dwebbackup.sources.mysql.names import renamed

# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("SELECT 1 FROM shop.orders", "SELECT 1 FROM `new`.orders"),
        ("SELECT 1 FROM `shop` . `orders`", "SELECT 1 FROM `new` . `orders`"),
        ("SELECT shop.orders.id FROM shop.orders", "SELECT `new`.orders.id FROM `new`.orders"),
        ("SELECT 'shop.orders', \"shop.orders\"", None),
        ("SELECT 'it''s \\' shop.orders'", None),
        ("SELECT 1 -- shop.orders\n FROM t", None),
        ("SELECT 1 /* shop.orders */ # shop.orders", None),
        ("SELECT shop.id FROM orders shop", None),
        ("SELECT a.shop.orders", None),
        ("SELECT myshop.orders, shop2.orders, shop.ordersx", None),
        ("CALL shop.`odd``one`()", "CALL `new`.`odd``one`()"),
        ("SELECT 1--shop.orders", "SELECT 1--`new`.orders"),
    ],
)
def test_a_schemas_name_is_changed_where_it_qualifies_something_of_it(text: str, becomes: str | None) -> None:
    assert renamed(text, "shop", "new", {"orders", "odd`one"}) == (becomes or text)


@given(st.text())
def test_text_that_does_not_name_the_schema_stays(text: str) -> None:
    assert renamed(text, "no such schema", "new", {"t"}) == text


# ---- values ------------------------------------------------------------------------------------------------


def test_lines_become_values() -> None:
    lines = b"1\tit's\tNULL\n2\t\\\\\\t\\n\\0\t\x1fNULL\x1f\n3\t\x1f\x1f\x1fx\x1f\t"
    assert values(lines, b"),(") == (
        rb"'1','it\'s',NULL),('2','\\\t\n\0','NULL'),('3'," + b"'\x1fx',''"
    )  # fmt: skip


# ---- where a table ends ------------------------------------------------------------------------------------


class Pipe:
    """What a client prints, in pieces."""

    nonce = b"0123456789abcdef0123456789abcdef"

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def read(self, view: memoryview) -> int:
        piece = self.pieces.pop(0)
        if len(piece) > len(view):
            self.pieces.insert(0, piece[len(view) :])
        taken = piece[: len(view)]
        view[: len(taken)] = taken
        return len(taken)

    def ended(self) -> None:
        assert not self.pieces, "something came behind the marker"


LINES = st.lists(
    st.one_of(
        st.binary(max_size=90).map(lambda line: line.replace(b"\n", b"")),
        st.integers(0, 32).map(lambda size: Pipe.nonce[:size] if size < 32 else b"x" + Pipe.nonce),
    )
)


@given(LINES, st.data())
def test_the_marker_ends_a_table_however_it_comes_in_pieces(lines: list[bytes], data: st.DataObject) -> None:
    rows = b"".join(line + b"\n" for line in lines)
    printed = rows + Pipe.nonce + b"\t%d\n" % len(lines)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(printed) - 1), max_size=9)))
    pieces = [printed[a:b] for a, b in zip([0, *cuts], [*cuts, len(printed)], strict=True)]
    stream = RowStream(Pipe(pieces), "t")  # type: ignore[arg-type]
    view = memoryview(bytearray(data.draw(st.integers(112, 400))))
    taken = b""
    while size := stream.readinto(view):
        taken += bytes(view[:size])
    assert (taken, stream.rows) == (rows, len(lines))


# ---- definitions -------------------------------------------------------------------------------------------

FOUND = Definitions(
    "shop",
    "utf8mb4",
    "utf8mb4_bin",
    (
        Definition(
            "table", "t", "CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8"
        ),
        Definition("sequence", "s", "CREATE SEQUENCE `s`", value=-5),
        Definition("trigger", "ü", "SET NEW.a = ' \u2028\x85'", "root@%", "", "utf8mb4", "x", "t", "BEFORE INSERT"),
    ),
)


def test_definitions_are_written_and_read_back() -> None:
    assert definitions.decode(definitions.encode(FOUND)) == FOUND


def test_counters_are_no_part_of_what_must_not_change() -> None:
    table, sequence, _ = FOUND.steady().items
    assert "AUTO_INCREMENT" not in table.statement
    assert sequence.value is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]\n", b'{"name": "a", "charset": "b", "collation": "c"}\n{"x": 1}\n'])
def test_definitions_that_are_none_are_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        definitions.decode(data)


def test_a_thing_of_a_newer_version_is_not_left_out_silently() -> None:
    with pytest.raises(Damaged, match="oracle"):
        definitions.decode(definitions.encode(Definitions("a", "b", "c", (Definition("oracle", "o", ""),))))


# ---- addresses ---------------------------------------------------------------------------------------------


def test_an_address_says_where_to_go() -> None:
    at = Address.parse("mysql://us%40er:p%3A%2F%40@[::1]:3307/d%2Fb?ssl-ca=/a%20b&ssl-cert=/c&ssl-key=/k")
    assert (at.host, at.port, at.user, at.password, at.database) == ("::1", 3307, "us@er", "p:/@", "d/b")
    assert (at.tls.mode, at.tls.ca, at.tls.cert, at.tls.key) == ("VERIFY_CA", "/a b", "/c", "/k")
    assert at.url == "mysql://us@er@[::1]:3307/d/b"
    assert "p:/@" not in repr(at)


def test_the_password_may_be_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_PWD", "secret")
    assert Address.parse("mariadb://u@h/d").password == "secret"
    assert Address.parse("mariadb://u:own@h/d").password == "own"


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@h/d", "mysql:/h/d", "mysql://u@h:x/d", "mysql://u@h/d?sslmode=x", "mysql://u@h/d?ssl-mode=maybe"],
)
def test_an_address_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    secret = url.replace("u@", "u:hidden@")
    with pytest.raises(WrongConfiguration) as caught:
        Address.parse(secret)
    assert "hidden" not in f"{caught.value} {caught.value.hint}"


def test_certificates_that_cannot_be_read_are_a_fault_of_the_configuration() -> None:
    with pytest.raises(WrongConfiguration, match="certificates"):
        Address.parse(f"mysql://u@h/d?ssl-ca={os.devnull}/nothing").tls.context()


# ---- versions and refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("10.11.19-MariaDB-0+deb12u1", "MariaDB 10.11.19"),
        ("5.5.5-10.6.4-MariaDB", "MariaDB 10.6.4"),
        ("9.7.4-2", "MySQL 9.7.4"),
        ("8.0.36-28.1", "MySQL 8.0.36"),
    ],
)
def test_a_server_is_known_by_its_version(said: str, told: str) -> None:
    assert str(Version(said)) == told


def test_what_a_program_says_is_judged_by_its_number_not_its_words() -> None:
    refused = refusals.of_program("FEHLER: ERROR 1412 (HY000) at line 3: Tabellendefinition wurde geändert")
    assert refused.number in refusals.CHANGED
    assert refused.hint
