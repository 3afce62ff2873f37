"""Ceph's S3 gateway for tests: a whole cluster in memory, the system's or a newer one, over HTTP and over TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dwebbackup.stores.s3_address import AccessKey
from s3_server import S3Server, free_port, port_of, require, run

PROGRAMS = ("ceph-authtool", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "setpriv")

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
plugin_dir = {libraries}/ceph
compressor_dir = {libraries}/ceph/compressor
erasure_code_dir = {libraries}/ceph/erasure-code
osd_class_dir = {libraries}/rados-classes
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


class Ceph(S3Server):
    """A cluster of three daemons. *beside*: the folder of one that was unpacked beside the system."""

    def __init__(self, folder: Path, beside: Path | None = None) -> None:
        super().__init__(folder)
        self._beside = beside
        self._mon = free_port()

    def start(self) -> None:
        self._configure()
        mon = ["ceph-mon", "-i", "a", "--public-addrv", f"[v2:127.0.0.1:{self._mon}/0]"]
        self._run(*mon, "--mkfs", "--fsid", self._fsid, "--mon-initial-members", "a")
        self._launch(*mon)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", str(uuid.uuid4()))
        self._launch("ceph-osd", "-i", "0")
        self._launch("radosgw", "-n", "client.rgw")
        self.await_listeners(port_of(self.http), port_of(self.https))
        self.key = self.user("owner")

    def user(self, name: str, *options: str) -> AccessKey:
        """A new user of the gateway."""
        made = json.loads(self.admin("user", "create", "--uid", name, "--display-name", name, *options))
        return AccessKey(made["keys"][0]["access_key"], made["keys"][0]["secret_key"])

    def admin(self, *words: str) -> str:
        return self._run("radosgw-admin", "-n", "client.rgw", *words)

    def _configure(self) -> None:
        self._fsid = str(uuid.uuid4())
        settings = SETTINGS.format(
            folder=self.folder,
            fsid=self._fsid,
            mon=self._mon,
            http=port_of(self.http),
            https=port_of(self.https),
            libraries=f"{self._beside or ''}/usr/lib/x86_64-linux-gnu",
        )
        if not self._beside:  # whose own folders serve, wherever they are
            settings = "".join(line for line in settings.splitlines(keepends=True) if "_dir = /usr/" not in line)
        (self.folder / "ceph.conf").write_text(settings)
        for name in ("mon", "osd", "rgw"):
            (self.folder / name).mkdir()
        make_certificates(self.folder)
        keyring = str(self.folder / "keyring")
        authtool = self._program("ceph-authtool")
        run(authtool, keyring, "-C", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        every = [word for service in ("mon", "osd", "mgr") for word in ("--cap", service, "allow *")]
        for name in ("client.admin", "osd.0", "client.rgw"):
            run(authtool, keyring, "--gen-key", "-n", name, *every)

    def _program(self, name: str) -> str:
        return str(self._beside / "programs" / name) if self._beside else name

    def _run(self, program: str, *words: str) -> str:
        return run(self._program(program), "-c", str(self.folder / "ceph.conf"), *words)

    def _launch(self, program: str, *words: str) -> None:
        self.launch(program, self._program(program), "-c", str(self.folder / "ceph.conf"), "-f", *words)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """The system's gateway; each test process has its own."""
    require(PROGRAMS, "radosgw ceph-mon ceph-osd")
    with Ceph.running(tmp_path_factory.getbasetemp()) as gateway:
        yield gateway


def make_certificates(folder: Path, days: float = 2) -> None:
    """An authority of our own in `ca.pem`, and a server's certificate for 127.0.0.1 that it signed.

    That one is valid for so many *days*, and expired where they are fewer than none.
    """
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dwebbackup tests")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(issuer, issuer, authority, authority, x509.BasicConstraints(ca=True, path_length=0))
    signed = _certificate(x509.Name([]), issuer, server, authority, here, days)
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
    days: float = 2,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1))
    builder = builder.not_valid_after(now + dt.timedelta(days=days))
    builder = builder.add_extension(extension, critical=True)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())
