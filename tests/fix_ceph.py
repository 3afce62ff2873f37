"""Ceph's S3 gateway for tests: a whole cluster in memory, one for each test process, over HTTP and over TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import itertools
import json
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dwebbackup.stores.s3_address import AccessKey, Address

PROGRAMS = ("ceph-authtool", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "setpriv")
PATIENCE = 60
"""Seconds for a start, which takes one or two."""

# One placement group a pool, no replicas, quick elections: nothing here has to survive anything.
SETTINGS = """\
[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon}/0
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = {folder}/keyring
log_file = {folder}/$name.log
mon_cluster_log_file = {folder}/cluster.log
run_dir = {folder}
admin_socket =
pid_file =
crash_dir = {folder}
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_tick_interval = 1
mon_client_hunt_interval = 0.3
mon_data = {folder}/mon
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_warn_on_pool_no_redundancy = false
mgr_initial_modules =
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
[osd]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
osd_class_load_list = *
osd_class_default_list = *
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
[client]
rgw_frontends = beast endpoint=127.0.0.1:{http} ssl_endpoint=127.0.0.1:{https} \
ssl_certificate={folder}/server.pem ssl_private_key={folder}/server.key tcp_nodelay=1
rgw_data = {folder}/rgw
rgw_enable_apis = s3
rgw_crypt_require_ssl = false
rgw_rados_pool_pg_num_min = 1
rgw_override_bucket_index_max_shards = 1
"""

_numbers = itertools.count(1)


class Ceph:
    """A running gateway, and its one user who may do everything with buckets of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.http = f"http://127.0.0.1:{_free_port()}"
        self.https = f"https://127.0.0.1:{_free_port()}"
        self.ca = str(folder / "ca.pem")
        self._mon = _free_port()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.key = AccessKey("", "")

    def start(self) -> None:
        """Raises AssertionError with the last words of what did not start."""
        self._configure()
        mon = ["ceph-mon", "-i", "a", "--public-addrv", f"[v2:127.0.0.1:{self._mon}/0]"]
        self._run(*mon, "--mkfs", "--fsid", self._fsid, "--mon-initial-members", "a")
        self._launch(*mon)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
        self._launch("ceph-osd", "-i", "0")
        self._launch("radosgw", "-n", "client.rgw")
        self._await_gateway()
        self.key = self.user("owner")

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGKILL)  # they keep nothing
        for daemon in self._daemons:
            daemon.wait()

    def user(self, name: str, *options: str) -> AccessKey:
        """A new user of the gateway."""
        made = json.loads(self.admin("user", "create", "--uid", name, "--display-name", name, *options))
        return AccessKey(made["keys"][0]["access_key"], made["keys"][0]["secret_key"])

    def admin(self, *words: str) -> str:
        return self._run("radosgw-admin", "-n", "client.rgw", *words)

    def bucket(self, key: AccessKey | None = None) -> str:
        """A new and empty one."""
        name = f"bucket-{next(_numbers)}"
        self.client(key).create_bucket(Bucket=name)
        return name

    def client(self, key: AccessKey | None = None) -> Any:
        """What the tests do themselves, without the code under test."""
        key = key or self.key
        return boto3.client(
            "s3",
            endpoint_url=self.http,
            region_name="us-east-1",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=Config(request_checksum_calculation="when_required"),
        )

    def address(self, bucket: str, **changes: Any) -> Address:
        return Address(bucket, **({"endpoint": self.http} | changes))

    def _configure(self) -> None:
        self._fsid = str(uuid.uuid4())
        ports = {"mon": self._mon, "http": self.http.rpartition(":")[2], "https": self.https.rpartition(":")[2]}
        (self.folder / "ceph.conf").write_text(SETTINGS.format(folder=self.folder, fsid=self._fsid, **ports))
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        make_certificates(self.folder)
        keyring = str(self.folder / "keyring")
        _run("ceph-authtool", keyring, "-C", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        every = [word for service in ("mon", "osd", "mgr") for word in ("--cap", service, "allow *")]
        for name in ("client.admin", "osd.0", "client.rgw"):
            _run("ceph-authtool", keyring, "--gen-key", "-n", name, *every)

    def _run(self, program: str, *words: str) -> str:
        return _run(program, "-c", str(self.folder / "ceph.conf"), *words)

    def _launch(self, program: str, *words: str) -> None:
        """It ends when this process does, however that ends."""
        command = ["setpriv", "--pdeathsig", "KILL", program, "-c", str(self.folder / "ceph.conf"), "-f", *words]
        with (self.folder / f"{program}.out").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                )
            )

    def _await_gateway(self) -> None:
        deadline = time.monotonic() + PATIENCE
        for port in (self.http, self.https):
            while not _listens(int(port.rpartition(":")[2])):
                ended = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
                assert not ended, f"{ended} ended\n{self._last_words()}"
                assert time.monotonic() < deadline, f"nobody listens on {port}\n{self._last_words()}"
                time.sleep(0.01)

    def _last_words(self) -> str:
        outputs = sorted(self.folder.glob("*.out"))
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in outputs)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """The gateway; each test process has its own. A missing program fails the test."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.fail(f"{', '.join(missing)} is missing: apt-get install radosgw ceph-mon ceph-osd")
    with running_ceph(tmp_path_factory.getbasetemp()) as gateway:
        yield gateway


@contextmanager
def running_ceph(folder: Path) -> Iterator[Ceph]:
    """It leaves nothing in *folder*. Tried again where somebody else may have taken one of its ports meanwhile."""
    for last in (False, False, True):
        with ExitStack() as stack:
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="ceph-", dir=folder))
            gateway = Ceph(Path(own))
            stack.callback(gateway.stop)
            try:
                gateway.start()
            except AssertionError:
                if last:
                    raise
                continue
            yield gateway
            return


def make_certificates(folder: Path) -> None:
    """An authority of our own in `ca.pem`, and a server's certificate for 127.0.0.1 that it signed."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dwebbackup tests")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(issuer, issuer, authority, authority, x509.BasicConstraints(ca=True, path_length=0))
    signed = _certificate(x509.Name([]), issuer, server, authority, here)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extension: x509.ExtensionType,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1))
    builder = builder.not_valid_after(now + dt.timedelta(days=2))
    builder = builder.add_extension(extension, critical=True)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())


def _run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{command} failed: {done.stderr[-2000:]}"
    return done.stdout


def _free_port() -> int:
    """A port that is free now, below the range from which systems give ports to outgoing connections."""
    while True:
        port = random.SystemRandom().randrange(10240, 32768)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
