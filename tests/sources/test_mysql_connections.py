"""How a MariaDB server is reached: TCP, passwords, TLS; and a server that lies about what it wants."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509

from dwebbackup import restore
from dwebbackup.errors import DatabaseRefused, ToolMissing
from dwebbackup.sources.mysql import MysqlSource, MysqlTarget
from dwebbackup.stores.local import LocalStore
from fix_mysql import MysqlServer, Schema, free_schema, mariadb_here, new_schema
from fix_tls import PASSWORD, Authority
from sources.same_mysql import differences
from synthetic import back_up, opened

ROWS = ("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'one'), (2, NULL)")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The server is another user, who may not look into pytest's folders."""
    with tempfile.TemporaryDirectory(prefix="dwebbackup-tls-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


class TlsServer:
    """A server with a certificate for its address, and an authority that nobody else knows."""

    def __init__(self, server: MysqlServer, folder: Path) -> None:
        self.server = server
        self.ca = str(folder / "ca.pem")
        self.stranger = str(folder / "stranger.pem")
        self.port = server.execute("SELECT @@port")[0][0]

    def url(self, schema: str, user: str, options: str = "") -> str:
        return f"mysql://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{schema}?{options}"


@pytest.fixture(scope="module")
def tls(folder: Path) -> Iterator[TlsServer]:
    authority = Authority("the right one")
    authority.write(folder / "ca.pem")
    Authority("another one").write(folder / "stranger.pem")
    authority.certify(folder, "server", (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),))
    (folder / "server.key").chmod(0o644)
    files = (
        f"--ssl-ca={folder / 'ca.pem'}",
        f"--ssl-cert={folder / 'server.pem'}",
        f"--ssl-key={folder / 'server.key'}",
    )
    with listening(files) as (server, _):
        password = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        for user, requires in (("plain", "NONE"), ("secured", "SSL")):
            server.execute(f"CREATE USER {user}@`%` IDENTIFIED BY '{password}' REQUIRE {requires}")
            server.execute(f"GRANT ALL ON *.* TO {user}@`%`")
        yield TlsServer(server, folder)


@contextlib.contextmanager
def listening(settings: tuple[str, ...] = ()) -> Iterator[tuple[MysqlServer, int]]:
    """A server on a port that was free a moment ago; should somebody else have taken it, on another one."""
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = mariadb_here(("--bind-address=127.0.0.1", f"--port={port}", *settings))
        try:
            server.__enter__()
        except pytest.fail.Exception:
            continue
        try:
            yield server, port
        finally:
            server.__exit__()
        return
    pytest.fail("no server came up on a port")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    store.prepare()
    return store


@pytest.mark.parametrize(
    ("user", "options"),
    [
        ("plain", "ssl-mode=DISABLED"),
        ("plain", ""),
        ("secured", ""),
        ("secured", "ssl-mode=REQUIRED"),
        ("secured", "ssl-mode=VERIFY_CA&ssl-ca={ca}"),
        ("secured", "ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"),
    ],
)
def test_it_goes_there_and_back_over_tcp(store: LocalStore, tls: TlsServer, user: str, options: str) -> None:
    said = options.format(ca=tls.ca)
    with new_schema(tls.server) as source, free_schema(tls.server) as copy:
        source.execute(*ROWS)
        back_up(store, MysqlSource(tls.url(source.name, user, said)), jobs=2)
        writer = opened(store)
        target = MysqlTarget(tls.url(copy.name, user, said))
        restore.restore(writer, writer.catalog.latest(), target, restore.Options())
        assert differences(source, copy) == []


@pytest.mark.parametrize(
    ("user", "options", "hint"),
    [
        ("secured", "ssl-mode=DISABLED", "check the user and the password"),
        ("secured", "ssl-mode=VERIFY_CA&ssl-ca={stranger}", "not signed by the authority"),
        ("stranger", "", "check the user and the password"),
    ],
)
def test_who_is_not_let_in_hears_what_to_do(
    store: LocalStore, tls: TlsServer, user: str, options: str, hint: str
) -> None:
    url = tls.url("mysql", user, options.format(stranger=tls.stranger))
    with pytest.raises(DatabaseRefused, match="cannot connect") as caught:
        back_up(store, MysqlSource(url))
    assert hint in caught.value.hint
    assert PASSWORD not in f"{caught.value} {caught.value.hint}"


def test_a_server_without_tls_is_refused_where_the_address_asks_for_it(store: LocalStore) -> None:
    with listening() as (server, port):
        server.execute("CREATE USER u@`%` IDENTIFIED BY 'p'", "GRANT ALL ON *.* TO u@`%`", "CREATE DATABASE d")
        with pytest.raises(DatabaseRefused, match="cannot connect") as caught:
            back_up(store, MysqlSource(f"mysql://u:p@127.0.0.1:{port}/d?ssl-mode=REQUIRED"))
        assert "turn it on at the server" in caught.value.hint
        back_up(store, MysqlSource(f"mysql://u:p@127.0.0.1:{port}/d"))


def test_nobody_there_is_said(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefused, match="cannot connect") as caught:
        back_up(store, MysqlSource(f"mysql://u:secret@/d?socket={tmp_path}/none"))
    assert "is the server running" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_database_that_is_not_there_is_said(store: LocalStore, mariadb: MysqlServer) -> None:
    with pytest.raises(DatabaseRefused, match="no_such_thing") as caught:
        back_up(store, MysqlSource(mariadb.url("no_such_thing")))
    assert "check its name" in caught.value.hint


def test_a_missing_client_program_is_said(store: LocalStore, schema: Schema, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="neither mariadb nor mysql") as caught:
        back_up(store, MysqlSource(schema.url, bin_folder=str(tmp_path)))
    assert "mariadb-client" in caught.value.hint


def test_doctor_says_what_a_backup_would_find(schema: Schema) -> None:
    schema.execute("CREATE TABLE t (id INT) ENGINE = MyISAM")
    found = {finding.name: finding for finding in MysqlSource(schema.url).check()}
    assert {name: finding.level for name, finding in found.items()} == {
        "server": "ok",
        "client program": "ok",
        "rights": "ok",
        "engines": "warning",
    }
    assert "MariaDB 10." in found["server"].sentence


# ---- a server that lies ------------------------------------------------------------------------------------


class Liar:
    """Between us and a server: it asks for another file of this machine than was offered."""

    def __init__(self, socket_: Path, at: Path) -> None:
        self.seen = b""
        self._to = str(at)
        self._sockets = [socket.socket(socket.AF_UNIX)]
        self._sockets[0].bind(str(socket_))
        self._sockets[0].listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):  # one of them may have ended by itself
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._sockets[0].accept()
            except OSError:
                return
            theirs = socket.socket(socket.AF_UNIX)
            theirs.connect(self._to)
            self._sockets += [ours, theirs]
            for to, from_, lies in ((theirs, ours, False), (ours, theirs, True)):
                self._threads.append(threading.Thread(target=self._carry, args=(from_, to, lies)))
                self._threads[-1].start()

    def _carry(self, from_: socket.socket, to: socket.socket, lies: Any) -> None:
        with contextlib.suppress(OSError):
            while data := from_.recv(65536):
                self.seen += b"" if lies else data
                to.sendall(data.replace(b"\xfbdwebbackup", b"\xfb/etc/hosts") if lies else data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)


def test_a_server_that_asks_for_another_file_gets_none(store: LocalStore, schema: Schema, target: Schema) -> None:
    schema.execute(*ROWS)
    back_up(store, MysqlSource(schema.url))
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        liar = Liar(Path(short) / "s", schema.server.socket)
        try:
            writer = opened(store)
            url = f"mysql://root@/{target.name}?socket={short}/s"
            with pytest.raises(DatabaseRefused, match="asked for a file"):
                restore.restore(writer, writer.catalog.latest(), MysqlTarget(url), restore.Options())
        finally:
            liar.close()
    assert Path("/etc/hosts").read_bytes().splitlines()[0] not in liar.seen
    assert not target.exists()
