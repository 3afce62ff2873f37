"""OpenStack Swift with its S3 interface, for tests: strict, and older than most of what S3 has become."""

from __future__ import annotations

import getpass

from dwebbackup.stores.s3_address import AccessKey
from fix_ceph import make_certificates
from s3_server import S3Server, free_port, port_of, run

SERVERS = ("account", "container", "object")

PROGRAMS = ("swift-ring-builder", "swift-proxy-server", *(f"swift-{name}-server" for name in SERVERS), "memcached")

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {folder}
devices = {folder}/disks
mount_check = false
fallocate_reserve = 0
workers = 0
log_level = WARNING
"""

RINGS = """\
[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = only
default = yes
"""

STORAGE = """\
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
cert_file = {certificate}
key_file = {private}
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_owner = secret-of-the-owner .admin
user_test_stranger = secret-of-a-stranger
[filter:slo]
use = egg:swift#slo
"""


class Swift(S3Server):
    """One server of each kind, on one disk, and a proxy for HTTP and one for TLS."""

    def start(self) -> None:
        make_certificates(self.folder)
        (self.folder / "swift.conf").write_text(RINGS)
        memcached = free_port()
        self.launch("memcached", "memcached", "-l", "127.0.0.1", "-p", str(memcached), "-u", getpass.getuser())
        storage = [self._storage(name) for name in SERVERS]
        for port, certificate, private in (
            (port_of(self.http), "", ""),
            (port_of(self.https), self.folder / "server.pem", self.folder / "server.key"),
        ):
            proxy = PROXY.format(certificate=certificate, private=private, memcached=memcached)
            if not certificate:
                proxy = proxy.partition("key_file = \n")[2]
            self._serve("proxy", port, proxy)
        self.await_listeners(memcached, *storage, port_of(self.http), port_of(self.https))
        self.key = AccessKey("test:owner", "secret-of-the-owner")

    def user(self, name: str) -> AccessKey:
        """One of those whom the settings know."""
        return AccessKey(f"test:{name}", f"secret-of-a-{name}")

    def _storage(self, name: str) -> int:
        port = free_port()
        (self.folder / "disks" / "one").mkdir(parents=True, exist_ok=True)
        builder = str(self.folder / f"{name}.builder")
        run("swift-ring-builder", builder, "create", "1", "1", "0")
        run("swift-ring-builder", builder, "add", f"r1z1-127.0.0.1:{port}/one", "1")
        run("swift-ring-builder", builder, "rebalance")
        self._serve(name, port, STORAGE.format(name=name))
        return port

    def _serve(self, name: str, port: int, settings: str) -> None:
        path = self.folder / f"{name}-{port}.conf"
        path.write_text(COMMON.format(port=port, user=getpass.getuser(), folder=self.folder) + settings)
        self.launch(path.stem, "env", f"SWIFT_DIR={self.folder}", f"swift-{name}-server", str(path))
