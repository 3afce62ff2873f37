"""A key that must not delete: the option that says so, what a backup does then, and a server that holds it to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calling import call
from dwebbackup import prune
from dwebbackup.errors import StoreUnreachable
from dwebbackup.keys import OwnerKey
from dwebbackup.ports import StoreTraits
from dwebbackup.stores import Refused
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.undeleting import Undeleting
from faulty import MemoryStore
from fix_ceph import Ceph
from fix_postgres import Database
from synthetic import ROOT, back_up, errors, names, noise, opened, restored

WORDS = OwnerKey(bytes(range(32))).words


def test_it_is_the_store_but_for_deleting():
    inner = MemoryStore()
    store = Undeleting(inner)
    assert (store.name, store.url) == (inner.name, inner.url)
    assert store.traits == StoreTraits(deletes=False)
    assert store.put("a", b"1") == inner.put("a", b"1")
    assert (store.get("a"), store.head("a"), list(store.list(""))) == (b"1", inner.head("a"), list(inner.list("")))
    with pytest.raises(Refused, match="deletes=no"):
        store.delete("a")
    assert inner.get("a") == b"1"


def test_backups_run_and_are_not_pruned_where_the_url_says_so(database: Database, tmp_path: Path):
    database.psql("CREATE TABLE t AS SELECT generate_series(1, 100) AS id")
    url = f"file://{tmp_path}/store"
    told = {"SOURCE": database.uri, "STORE": f"{url}?deletes=no", "KEY": WORDS}
    made = call("backup", "--json", **told)
    assert (made.json["doubts"], made.err.count("warning")) == ([], 0)
    left = list(tmp_path.glob("store/w/*/checkpoints/*"))
    assert left
    assert {path.stat().st_size for path in left} == {0}
    refused = call("prune", "--keep", "last 1", expect=2, **told)
    assert "deletes=no" in refused.err
    found = {each["name"]: each for each in call("doctor", "--json", **told).json["findings"]}
    assert found["store local: delete"]["level"] == "notice"
    assert [path.stat().st_size for path in tmp_path.glob("store/w/*/probes/*")] == [0]
    call("prune", "--keep", "last 1, floor 1", **(told | {"STORE": url}))
    assert not list(tmp_path.glob("store/w/*/checkpoints/*"))
    call("restore", "latest", "--to", database.uri, "--replace", **(told | {"SOURCE": ""}))
    assert database.psql("SELECT count(*) FROM t").strip() == "100"


def test_the_option_says_yes_or_no():
    assert "deletes=no" in call("list", expect=2, STORE="file:///nowhere?deletes=never", KEY=WORDS).err


def test_a_server_that_lets_a_key_delete_nothing_gets_whole_backups_and_the_owner_prunes_them(ceph: Ceph):
    bucket = ceph.bucket()
    allow_to_add(ceph, bucket, "appender")
    appender = S3Store(ceph.address(bucket), "far", ceph.user("appender"))
    owner = S3Store(ceph.address(bucket), "far", ceph.key)
    for number in range(3):
        assert back_up(Undeleting(appender), {"all": noise(20_000, number)}).doubts == ()
    first, *_ = opened(owner).catalog.refs()
    with pytest.raises(StoreUnreachable, match="AccessDenied"):
        appender.delete(f"{ROOT}manifests/{first.name}")
    assert names(owner, "checkpoints/")
    done = prune.prune(opened(owner), prune.plan(opened(owner), [first]))
    assert (done.manifests, done.waits) == ((first,), "")
    assert names(owner, "checkpoints/") == set()
    assert errors(owner) == []
    assert restored(owner) == {"all": noise(20_000, 2)}


def allow_to_add(ceph: Ceph, bucket: str, name: str) -> None:
    """What he adds is his own, so the bucket's owner has to be allowed to read it, too."""
    rights = {name: ["s3:ListBucket", "s3:GetObject", "s3:PutObject"], "owner": ["s3:*"]}
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam:::user/{user}"},
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        for user, actions in rights.items()
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    ceph.client().put_bucket_policy(Bucket=bucket, Policy=document)
