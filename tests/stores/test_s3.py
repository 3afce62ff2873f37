"""An S3 bucket as a store: the contract on a real Ceph gateway, and servers that refuse, break, lie or say nothing."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from calling import call
from contracts.store import StoreContract, names, noise
from dwebbackup import access, assemble, backup, config, stores
from dwebbackup.errors import ObjectMissing, StoreUnreachable, WrongConfiguration
from dwebbackup.ports import Store
from dwebbackup.stores import Refused, TooLarge
from dwebbackup.stores.retrying import Retrying
from dwebbackup.stores.s3 import S3Store
from dwebbackup.stores.s3_address import AccessKey, Address
from fix_ceph import Ceph
from fix_postgres import Database
from fix_s3 import WIDE
from fix_swift import Swift
from s3_server import S3Server
from stores.asking import ASKS, KEY, TIME, asking
from stores.front import front, nobody, response, silence
from synthetic import OWNER, ROOT, WRITER, SyntheticSource, errors, restored, small_pieces
from synthetic import names as object_names

_prefixes = itertools.count(1)


@pytest.fixture
def fresh_boto3(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For those who change AWS's variables, which boto3 reads once."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.common_bucket


@pytest.fixture
def address(server: S3Server, bucket: str) -> Address:
    """A prefix where nothing is yet."""
    return server.address(bucket, prefix=f"Of many/test-{next(_prefixes)}/")


@pytest.fixture
def store(server: S3Server, address: Address) -> S3Store:
    return S3Store(address, "s3", server.key)


def said(error: StoreUnreachable) -> str:
    return f"{error} ({error.hint})"


class S3Contract(StoreContract):
    """With several pages to list, where there is time for them."""

    @pytest.fixture
    def many(self, server: S3Server) -> int:
        return 4900 if WIDE and isinstance(server, Ceph) else 1024


class TestContract(S3Contract):
    """Over HTTP, below a prefix."""

    @pytest.fixture
    def store(self, server: S3Server, address: Address) -> Store:
        return as_used(server, S3Store(address, "s3", server.key))


class TestContractOverTls(S3Contract):
    """A bucket of one's own, without a prefix."""

    @pytest.fixture
    def store(self, server: S3Server) -> Store:
        address = server.address(server.bucket(), endpoint=server.https, ca=server.ca)
        return as_used(server, S3Store(address, "s3", server.key))


def as_used(server: S3Server, store: S3Store) -> Store:
    """Of several that put the same name at once, Swift takes one, and tells the others "202 Accepted": ask again."""
    return Retrying(store, first_wait=0.01) if isinstance(server, Swift) else store


class TestWhatLiesInTheBucket:
    def test_a_link_names_bucket_and_key(self, server: S3Server, bucket: str, store: S3Store, address: Address):
        (link,) = store.put("w/1/packs/ab/abc.age", b"linked")
        assert link == f"s3://{bucket}/{address.prefix.replace(' ', '%20')}w/1/packs/ab/abc.age"
        found = server.client().get_object(Bucket=bucket, Key=f"{address.prefix}w/1/packs/ab/abc.age")
        assert found["Body"].read() == b"linked"
        assert found["ContentType"] == "application/octet-stream"

    def test_a_store_is_found_again_by_its_url(self, server: S3Server, store: S3Store):
        store.put("w/1/head.json", b"1")
        again = S3Store(Address.from_url(store.url), "again", server.key)
        assert again.url == store.url
        assert again.get("w/1/head.json") == b"1"

    def test_what_is_not_ours_is_neither_listed_nor_in_the_way(self, server: S3Server, bucket: str, address: Address):
        store = S3Store(address, "s3", server.key)
        beside = address.prefix.rstrip("/") + "-2/w/1/b"
        for key in (address.prefix, f"{address.prefix}w/", f"{address.prefix}w/Photo (1) & ä+b%41.jpg", beside):
            server.client().put_object(Bucket=bucket, Key=key, Body=b"")
        store.put("w/1/a", b"a")
        assert names(store.list("")) == names(store.list("w/")) == ["w/1/a"]

    def test_many_stores_share_a_bucket(self, server: S3Server, bucket: str, address: Address, store: S3Store):
        inner = S3Store(server.address(bucket, prefix=f"{address.prefix}inner/"), "inner", server.key)
        inner.put("w/1/a", b"inner")
        store.put("w/1/a", b"outer")
        assert (inner.get("w/1/a"), store.get("w/1/a")) == (b"inner", b"outer")
        assert names(inner.list("")) == ["w/1/a"]
        inner.delete("w/1/a")
        assert store.get("w/1/a") == b"outer"


class TestWhatServersRefuse:
    """Ceph without a word: its errors have a code and an empty message."""

    @pytest.mark.parametrize("ask", ASKS)
    def test_a_missing_bucket_is_named_and_is_neither_empty_nor_a_missing_object(self, server: S3Server, ask: str):
        with pytest.raises(Refused, match="there is no bucket nowhere") as caught:
            ASKS[ask](S3Store(server.address("nowhere"), "far", server.key))
        assert "make the bucket" in caught.value.hint
        assert "store far cannot" in str(caught.value)

    @pytest.mark.parametrize("ask", ASKS)
    @pytest.mark.parametrize("wrong", ["id", "secret"])
    def test_a_wrong_key_is_said_to_be_one(self, server: S3Server, address: Address, ask: str, wrong: str):
        key = AccessKey("nobody", server.key.secret) if wrong == "id" else AccessKey(server.key.id, "secret")
        with pytest.raises(Refused, match=r"InvalidAccessKeyId|SignatureDoesNotMatch") as caught:
            ASKS[ask](S3Store(address, "far", key))
        assert "check the access key" in caught.value.hint
        assert server.key.secret not in said(caught.value)

    def test_a_strangers_bucket_is_refused(self, server: S3Server, address: Address, store: S3Store):
        store.put("w/1/a", b"a")  # of what is not there, Swift tells a stranger so
        stranger = S3Store(address, "far", server.user("stranger"))
        for ask in ASKS.values():
            with pytest.raises(Refused, match="AccessDenied") as caught:
                ask(stranger)
            assert "ListBucket" in caught.value.hint

    def test_what_changed_on_the_way_is_tried_again(
        self, address: Address, server: S3Server, monkeypatch: pytest.MonkeyPatch
    ):
        """The body that arrives has not the Content-MD5 that was sent along."""
        monkeypatch.setattr(hashlib, "md5", lambda data, **_: hashlib.new("md5", data + b"!"))
        with pytest.raises(StoreUnreachable, match="BadDigest") as caught:
            S3Store(address, "far", server.key).put("w/1/a", b"a")
        assert not isinstance(caught.value, Refused)


class TestWhatCephRefuses:
    """What no other of these servers can be told to."""

    def test_a_key_that_may_only_read_reads_and_is_refused_the_rest(self, any_ceph: Ceph):
        bucket = any_ceph.bucket()
        store = S3Store(any_ceph.address(bucket), "far", any_ceph.key)
        reader = S3Store(any_ceph.address(bucket), "far", any_ceph.user("reader", "--op-mask", "read"))
        policy = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/reader"}, "Action": "s3:*"}
        policy["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
        any_ceph.client().put_bucket_policy(Bucket=bucket, Policy=document)
        store.put("w/1/a", b"a")
        reader.prepare()
        assert (reader.get("w/1/a"), names(reader.list(""))) == (b"a", ["w/1/a"])
        for verb in ("put", "delete"):
            with pytest.raises(Refused, match="AccessDenied"):
                ASKS[verb](reader)
        assert store.get("w/1/a") == b"a"

    def test_a_full_quota_is_refused_with_what_to_do(self, any_ceph: Ceph):
        bucket = any_ceph.bucket()
        store = S3Store(any_ceph.address(bucket), "far", any_ceph.key)
        any_ceph.admin("quota", "set", "--quota-scope=bucket", f"--bucket={bucket}", "--max-size=100000")
        any_ceph.admin("quota", "enable", "--quota-scope=bucket", f"--bucket={bucket}")
        store.put("w/1/small", b"1")
        with pytest.raises(Refused, match="QuotaExceeded") as caught:
            store.put("w/1/large", noise(200_000))
        assert "raise the quota" in caught.value.hint
        assert names(store.list("")) == ["w/1/small"]


class TestTls:
    @pytest.mark.parametrize("ask", ASKS)
    def test_a_certificate_of_an_unknown_authority_is_refused(self, server: S3Server, ask: str):
        with pytest.raises(Refused, match="certificate") as caught:
            ASKS[ask](asking(server.https))
        assert "ca=FILE" in caught.value.hint

    def test_awss_own_variable_may_name_the_authority(
        self, server: S3Server, address: Address, fresh_boto3: pytest.MonkeyPatch
    ):
        fresh_boto3.setenv("AWS_CA_BUNDLE", server.ca)
        secure = server.address(address.bucket, prefix=address.prefix, endpoint=server.https)
        assert list(S3Store(secure, "far", server.key).list("")) == []

    def test_a_server_that_speaks_no_tls_is_said_to_speak_none(self, server: S3Server):
        with pytest.raises(Refused, match="does not speak TLS") as caught:
            asking(server.http.replace("http:", "https:")).get("w/1/a")
        assert "endpoint=http://" in caught.value.hint

    @pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_a_file_without_certificates_is_a_wrong_setting(self, tmp_path: Path, content: bytes | None):
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WrongConfiguration, match="certificates in"):
            asking("https://127.0.0.1:1", ca=str(path))


class TestServersThatDoNotAnswer:
    @pytest.mark.parametrize("ask", ASKS)
    def test_one_that_is_down_is_worth_another_try(self, ask: str):
        with nobody() as url, pytest.raises(StoreUnreachable, match="does not answer") as caught:
            ASKS[ask](asking(url))
        assert not isinstance(caught.value, Refused)
        assert "reachable" in caught.value.hint

    @pytest.mark.parametrize("ask", ["put", "get", "list"])
    def test_one_that_says_nothing_is_given_up(self, ask: str):
        with silence() as url, pytest.raises(StoreUnreachable, match="does not answer"):
            ASKS[ask](asking(url, timeout=0.1))

    def test_one_that_is_busy_is_asked_again(self, server: S3Server, address: Address):
        busy = response(503, "<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")
        waits: list[float] = []
        with front(busy, response(500), response(429), behind=server.http) as between:
            there = server.address(address.bucket, prefix=address.prefix, endpoint=between.url)
            store = Retrying(S3Store(there, "far", server.key), sleep=waits.append)
            store.put("w/1/a", b"a")
            assert len(waits) == 3
            assert store.get("w/1/a") == b"a"
            assert [method for method, _ in between.asked] == ["PUT"] * 4 + ["GET"]

    def test_readying_a_store_is_tried_again_too(self, server: S3Server, address: Address):
        waits: list[float] = []
        with front(response(503), behind=server.http) as between:
            there = server.address(address.bucket, prefix=address.prefix, endpoint=between.url)
            Retrying(S3Store(there, "far", server.key), sleep=waits.append).prepare()
        assert len(waits) == 1


def error(code: str, **more: str) -> str:
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in more.items())
    return f"<Error><Code>{code}</Code><Message></Message>{fields}</Error>"


class TestErrorsAreTold:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (400, error("RequestTimeout")),
            (400, error("BadDigest")),
            (408, ""),
            (409, error("OperationAborted")),
            (429, ""),
            (500, error("InternalError")),
            (502, "<html>Bad Gateway</html>"),
            (503, error("SlowDown")),
            (503, "<Error/>"),
            (504, ""),
            (520, "whatever"),
        ],
    )
    @pytest.mark.parametrize("ask", ["put", "get", "list", "delete"])
    def test_what_may_pass_by_itself_is_worth_another_try(self, ask: str, status: int, body: str):
        with front(response(status, body)) as server, pytest.raises(StoreUnreachable) as caught:
            ASKS[ask](asking(server.url))
        assert not isinstance(caught.value, Refused)
        assert f"HTTP status {status}" in str(caught.value)

    @pytest.mark.parametrize(
        ("status", "body", "hint"),
        [
            (400, error("ExpiredToken"), "new session"),
            (401, "", "check the access key"),
            (403, "", "has to be allowed"),
            (403, "<Error/>", "has to be allowed"),
            (403, error("RequestTimeTooSkewed"), "set this machine's clock"),
            (403, error("InvalidObjectState"), "archive"),
            (301, error("PermanentRedirect"), "region=… of the bucket"),
            (301, error("PermanentRedirect", Region="eu-north-1"), "region=eu-north-1"),
            (400, error("AuthorizationHeaderMalformed", Region="eu-north-1"), "region=eu-north-1"),
            (404, "", "endpoint"),
            (405, error("MethodNotAllowed"), "endpoint"),
            (400, error("KeyTooLongError"), ""),
            (501, error("NotImplemented"), ""),
            (507, "", "make room"),
        ],
    )
    @pytest.mark.parametrize("ask", ["put", "get", "list", "delete"])
    def test_what_somebody_has_to_change_is_refused_with_what(self, ask: str, status: int, body: str, hint: str):
        with front(response(status, body)) as server, pytest.raises(Refused) as caught:
            ASKS[ask](asking(server.url))
        assert hint in caught.value.hint
        assert str(status) in str(caught.value)

    def test_the_right_region_is_told_where_only_a_header_has_it(self):
        elsewhere = response(301, x_amz_bucket_region="ap-south-1")
        with front(elsewhere) as server, pytest.raises(Refused) as caught:
            asking(server.url).head("w/1/a")
        assert "region=ap-south-1" in caught.value.hint

    def test_a_redirect_is_asked_about_once(self):
        with front(response(301, error("PermanentRedirect"))) as server:
            with pytest.raises(Refused):
                asking(server.url).get("w/1/a")
            assert len(server.asked) == 1

    def test_the_reason_why_a_head_was_refused_is_asked_for(self):
        reason = response(403, error("AccountProblem"))
        with front(response(403), reason) as server, pytest.raises(Refused, match="AccountProblem") as caught:
            asking(server.url).head("w/1/a")
        assert "ask the provider" in caught.value.hint


LISTING = "<ListBucketResult><Name>bucket</Name><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"
ENTRY = "<Contents><Key>{}</Key><Size>1</Size><LastModified>2026-11-21T03:00:00.000Z</LastModified></Contents>"
PAGE = "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in<br/></body></html>"

NONSENSE = {
    "a page": response(200, PAGE, Content_Type="text/html"),
    "a page that does not say so": response(200, PAGE, Content_Type=""),
    "a page that is like a listing": response(200, LISTING.format("false", ""), Content_Type="text/html"),
    "a page with a date": response(200, PAGE, Content_Type="text/html; charset=utf-8", Last_Modified=TIME, ETag='"1"'),
    "something else": response(206, "<a/>", Last_Modified=TIME, ETag='"1"'),
    "not modified": response(304, Last_Modified=TIME, ETag='"1"'),
    "a page that says: not found": response(404, PAGE, Content_Type="text/html"),
    "not found, and no more": response(404),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "an error in an error": response(403, "<x><Error>no</Error></x>"),
    "an error of parts": response(403, "<Error>no<Code><a/></Code></Error>"),
    "two codes": response(403, "<Error><Code>A</Code><Code>B</Code></Error>"),
    "not a number": response(200, b"1", Content_Length="one", Last_Modified=TIME, ETag='"1"'),
    "broken chunks": response(403, b"zz\r\n", Content_Length="", Transfer_Encoding="chunked"),
    "an endless redirect": response(307, Location="/"),
}


class TestNoAnswerIsTakenOnTrust:
    @pytest.mark.parametrize("ask", ASKS)
    @pytest.mark.parametrize("answer", NONSENSE)
    def test_what_is_not_s3_is_neither_success_nor_emptiness_nor_a_missing_object(self, ask: str, answer: str):
        with front(NONSENSE[answer]) as server, pytest.raises(StoreUnreachable):
            ASKS[ask](asking(server.url))

    def test_a_gateways_not_found_is_believed_only_of_a_bucket_that_can_be_listed(self):
        empty = response(200, LISTING.format("false", ""))
        for ask in ("get", "head"):
            with front(response(404), empty) as server, pytest.raises(ObjectMissing, match="far has no w/1/a"):
                ASKS[ask](asking(server.url))

    @pytest.mark.parametrize("answer", [response(404, error("NoSuchKey")), response(200), response(204)])
    def test_what_is_deleted_may_be_said_in_several_ways(self, answer: bytes):
        with front(answer) as server:
            asking(server.url).delete("w/1/a")
            assert server.asked == [("DELETE", "/bucket/w/1/a")]

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (b"12345", {"Content_Length": "10"}),
            (b"5\r\n12345\r\n", {"Content_Length": "", "Transfer_Encoding": "chunked"}),
        ],
    )
    def test_a_body_that_is_too_short_is_no_object(self, body: bytes, headers: dict[str, str]):
        short = response(200, body, Last_Modified=TIME, **headers)
        with front(short) as server, pytest.raises(StoreUnreachable) as caught:
            asking(server.url).get("w/1/a")
        assert not isinstance(caught.value, Refused)

    def test_what_is_larger_than_anything_of_ours_is_not_fetched(self):
        huge = response(200, b"1", Last_Modified=TIME, Content_Length=str(stores.LARGEST + 1))
        with front(huge) as server, pytest.raises(TooLarge, match="larger than any object of ours"):
            asking(server.url).get("w/1/a")

    def test_an_etag_of_other_bytes_is_worth_another_try(self):
        other = hashlib.md5(b"other").hexdigest()
        with front(response(200, ETag=f'"{other}"')) as server, pytest.raises(StoreUnreachable, match="other bytes"):
            asking(server.url).put("w/1/a", b"a")

    @pytest.mark.parametrize(
        "headers",
        [
            {"ETag": '"1"'},
            {"ETag": hashlib.md5(b"a").hexdigest()},
            {"ETag": f'"{hashlib.md5(b"").hexdigest()}-1"'},
            {"ETag": f'"{hashlib.md5(b"").hexdigest()}"', "x_amz_server_side_encryption": "aws:kms"},
        ],
    )
    def test_an_etag_that_is_no_md5_proves_nothing(self, headers: dict[str, str]):
        with front(response(200, **headers)) as server:
            assert asking(server.url).put("w/1/a", b"a") == ("s3://bucket/w/1/a",)

    @pytest.mark.parametrize(
        "page",
        [
            LISTING.format("true", ENTRY.format("w/1/a")),
            LISTING.format("true", ENTRY.format("w/1/a") + "<NextContinuationToken>1</NextContinuationToken>"),
            LISTING.format("false", ENTRY.format("elsewhere/a")),
            LISTING.format("false", "<Contents><Key>w/1/a</Key></Contents>"),
            LISTING.format("false", "<Contents/>"),
            "<ListBucketResult/>",
            "<ListBucketResult><Name>bucket</Name></ListBucketResult>",
            "<ListBucketResult><Name>bucket</Name><IsTruncated>fal",
        ],
    )
    def test_a_listing_that_cannot_be_completed_does_not_just_end(self, page: str):
        with front(response(200, page)) as server, pytest.raises(StoreUnreachable):
            list(asking(server.url).list("w/"))

    def test_a_listing_whose_second_page_fails_does_not_end_with_the_first(self):
        first = LISTING.format("true", ENTRY.format("w/1/a") + "<NextContinuationToken>1</NextContinuationToken>")
        with front(response(200, first), response(404, error("NoSuchKey"))) as server:
            found = asking(server.url).list("w/")
            assert next(found).name == "w/1/a"
            with pytest.raises(StoreUnreachable):
                next(found)
            assert "continuation-token=1" in server.asked[1][1]

    def test_a_second_page_that_cannot_be_continued_does_not_lead_back_to_the_first(self):
        first = LISTING.format("true", "<NextContinuationToken>1</NextContinuationToken>")
        pages = [first, LISTING.format("true", ""), LISTING.format("false", "")]
        with front(*(response(200, page) for page in pages)) as server, pytest.raises(StoreUnreachable):
            list(asking(server.url).list("w/"))


class TestTheAccessKey:
    @pytest.mark.parametrize("ask", ASKS)
    def test_none_at_all_is_said_to_be_missing(self, server: S3Server, ask: str, fresh_boto3: pytest.MonkeyPatch):
        with pytest.raises(Refused, match="no access key is configured") as caught:
            ASKS[ask](S3Store(server.address("bucket"), "far"))
        assert "DWEBBACKUP_STORE_" in caught.value.hint

    def test_awss_own_variables_and_files_serve_too(
        self, server: S3Server, address: Address, tmp_path: Path, fresh_boto3: pytest.MonkeyPatch
    ):
        fresh_boto3.setenv("AWS_ACCESS_KEY_ID", server.key.id)
        fresh_boto3.setenv("AWS_SECRET_ACCESS_KEY", server.key.secret)
        S3Store(address).put("w/1/a", b"a")
        fresh_boto3.delenv("AWS_ACCESS_KEY_ID")
        fresh_boto3.delenv("AWS_SECRET_ACCESS_KEY")
        path = tmp_path / "credentials"
        path.write_text(f"[b]\naws_access_key_id = {server.key.id}\naws_secret_access_key = {server.key.secret}\n")
        fresh_boto3.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
        fresh_boto3.setenv("AWS_PROFILE", "b")
        fresh_boto3.setattr(boto3, "DEFAULT_SESSION", None)
        assert S3Store(address).get("w/1/a") == b"a"

    @pytest.mark.parametrize("where", ["ours", "a file of ours", "aws's variables", "aws's profile"])
    def test_the_token_of_a_session_goes_along(self, where: str, tmp_path: Path, fresh_boto3: pytest.MonkeyPatch):
        variables = sessions(tmp_path)[where]
        for name, value in variables.items():
            fresh_boto3.setenv(name, value)  # boto3 looks nowhere else
        with front(response(200, b"a", Last_Modified=TIME)) as server:
            loaded = config.load(environment=variables | {"DWEBBACKUP_STORE": f"s3://bucket?endpoint={server.url}"})
            assert assemble.store(loaded).get("w/1/a") == b"a"
            assert server.headers[0]["X-Amz-Security-Token"] == "Tok/en+of-a-session=="
            assert "Credential=ID-OF-A-SESSION/" in server.headers[0]["Authorization"]

    def test_ours_wins_over_awss(self, fresh_boto3: pytest.MonkeyPatch):
        fresh_boto3.setenv("AWS_ACCESS_KEY_ID", "another")
        fresh_boto3.setenv("AWS_SECRET_ACCESS_KEY", "another")
        fresh_boto3.setenv("AWS_SESSION_TOKEN", "another")
        with front(response(200, b"a", Last_Modified=TIME)) as server:
            asking(server.url).get("w/1/a")
            assert "X-Amz-Security-Token" not in server.headers[0]
            assert "Credential=id/" in server.headers[0]["Authorization"]

    def test_a_web_identity_is_exchanged_for_a_key_as_awss_own_tools_do(
        self, tmp_path: Path, fresh_boto3: pytest.MonkeyPatch
    ):
        (tmp_path / "identity").write_text("who-i-am")
        fresh_boto3.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
        fresh_boto3.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup")
        fresh_boto3.setenv("AWS_REGION", "eu-central-1")
        with front(response(200, EXCHANGED)) as exchange, front(response(200, b"a", Last_Modified=TIME)) as server:
            fresh_boto3.setenv("AWS_ENDPOINT_URL_STS", exchange.url)
            assert S3Store(Address("bucket", endpoint=server.url)).get("w/1/a") == b"a"
            assert server.headers[0]["X-Amz-Security-Token"] == "token-in-exchange"
            assert "Credential=ID-IN-EXCHANGE/" in server.headers[0]["Authorization"]

    def test_a_profile_that_does_not_exist_is_a_wrong_setting(self, fresh_boto3: pytest.MonkeyPatch):
        fresh_boto3.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(WrongConfiguration, match="nobody"):
            S3Store(Address("bucket"))

    def test_it_does_not_show(self, tmp_path: Path):
        assert "ecret" not in repr(KEY)
        assert "'id'" not in repr(KEY)
        ours = sessions(tmp_path)["ours"]
        loaded = config.load(environment=ours | {"DWEBBACKUP_STORE": "s3://bucket"})
        shown = f"{loaded!r} {loaded.stores[0].secrets!r} {vars(assemble.store(loaded))!r}"
        assert not [value for value in ours.values() if value in shown]

    @pytest.mark.parametrize("answer", [response(403), response(403, error("AccessDenied")), response(404, "<html>")])
    def test_it_does_not_show_in_errors_and_logs(self, answer: bytes, tmp_path: Path):
        ours = {name.removeprefix("DWEBBACKUP_"): value for name, value in sessions(tmp_path)["ours"].items()}
        with front(response(503, Retry_After="0"), answer, answer) as server:
            store = f"s3://bucket?endpoint={server.url}"
            ended = call("list", "--debug", "--json", STORE=store, KEY=OWNER.words, expect=13, **ours)
        assert "trying again" in ended.err
        assert not [value for value in ours.values() if value in ended.out + ended.err]


EXCHANGED = (
    '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ID-IN-EXCHANGE</AccessKeyId>"
    "<SecretAccessKey>secret-in-exchange</SecretAccessKey><SessionToken>token-in-exchange</SessionToken>"
    "<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
    "</AssumeRoleWithWebIdentityResponse>"
)


def sessions(folder: Path) -> dict[str, dict[str, str]]:
    """One and the same session's key, in all the places where it may stand."""
    key = {"ID": "ID-OF-A-SESSION", "SECRET": "Sec/ret+of-a-session", "TOKEN": "Tok/en+of-a-session=="}
    for name, value in key.items():
        path = folder / name
        path.write_text(f"{value}\n")
        path.chmod(0o600)
    profile = folder / "credentials"
    names = {"aws_access_key_id": "ID", "aws_secret_access_key": "SECRET", "aws_session_token": "TOKEN"}
    profile.write_text("[default]\n" + "".join(f"{name} = {key[part]}\n" for name, part in names.items()))
    ours = {"ACCESS_KEY_ID": "ID", "SECRET_ACCESS_KEY": "SECRET", "SESSION_TOKEN": "TOKEN"}
    return {
        "ours": {f"DWEBBACKUP_STORE_S3_{name}": key[part] for name, part in ours.items()},
        "a file of ours": {f"DWEBBACKUP_STORE_S3_{name}_FILE": str(folder / part) for name, part in ours.items()},
        "aws's variables": {name.upper(): key[part] for name, part in names.items()},
        "aws's profile": {"AWS_SHARED_CREDENTIALS_FILE": str(profile)},
    }


GOOD_URLS = {
    "s3://bucket": Address("bucket"),
    "s3://bucket/": Address("bucket"),
    "s3://my.bucket_1/a/b/": Address("my.bucket_1", "a/b/"),
    "s3://bucket/my%20folder/%C3%A4+b?region=eu-central-1": Address("bucket", "my folder/ä+b/", region="eu-central-1"),
    "s3://bucket?endpoint=https://s3.example:8443/&path_style=yes": Address(
        "bucket", endpoint="https://s3.example:8443", path_style=True
    ),
    "s3://bucket?endpoint=http%3A%2F%2F%5B%3A%3A1%5D%3A9000&path_style=no": Address(
        "bucket", endpoint="http://[::1]:9000", path_style=False
    ),
    "s3://bucket?endpoint=https://s3.example/a%26b": Address("bucket", endpoint="https://s3.example/a&b"),
    "s3://bucket?ca=/etc/my+own%20ca.pem&timeout=2.5": Address("bucket", ca="/etc/my+own ca.pem", timeout=2.5),
}


class TestItsUrl:
    @pytest.mark.parametrize("url", GOOD_URLS)
    def test_says_where_the_objects_are(self, url: str):
        assert Address.from_url(url) == GOOD_URLS[url]

    @pytest.mark.parametrize("url", GOOD_URLS)
    def test_is_written_as_it_is_read_but_for_what_concerns_this_machine(self, url: str):
        address = GOOD_URLS[url]
        public = Address(address.bucket, address.prefix, address.endpoint, address.region, address.path_style)
        assert Address.from_url(address.url) == public

    @pytest.mark.parametrize(
        "url",
        [
            "s3://",
            "s3:///prefix",
            "s3://a",
            "s3://bucket:9000/prefix",
            "s3://bu%20cket",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/a/%2e/b",
            "s3://bucket/a%0Ab",
            "s3://bucket?endpoint=s3.example",
            "s3://bucket?endpoint=ftp://s3.example",
            "s3://bucket?endpoint=https://user:hunter2@s3.example",
            "s3://bucket?endpoint=https://s3.example:port",
            "s3://bucket?endpoint=https://s3.example/%3Fa=b",
            "s3://bucket?region=eu/central",
            "s3://bucket?path_style=maybe",
            "s3://bucket?path_style=",
            "s3://bucket?timeout=0",
            "s3://bucket?timeout=-1",
            "s3://bucket?timeout=1e9",
            "s3://bucket?timeout=²",
        ],
    )
    def test_is_refused_where_it_makes_no_sense_and_passwords_do_not_show(self, url: str):
        with pytest.raises(WrongConfiguration) as caught:
            Address.from_url(url)
        assert caught.value.hint
        assert "hunter2" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("style", "asked"),
    [
        (None, "http://s3.example/bucket/w/1/a"),
        (True, "http://s3.example/bucket/w/1/a"),
        (False, "http://bucket.s3.example/w/1/a"),
    ],
)
def test_the_bucket_stands_in_the_path_or_before_the_host(
    style: bool | None, asked: str, monkeypatch: pytest.MonkeyPatch
):
    with front(response(200, b"a", Last_Modified=TIME)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert asking("http://s3.example", path_style=style).get("w/1/a") == b"a"
        assert proxy.asked == [("GET", asked)]


CONTENTS = {"large": noise(700_000), "rows": b"1\n2\n3\n", "empty": b""}


class TestAsAWhole:
    def test_a_backup_goes_out_by_several_threads_and_comes_back(self, store: S3Store):
        with small_pieces():
            options = backup.Options(jobs=2, uploads=4)
            part = access.below(store, WRITER.id)
            done = backup.back_up([SyntheticSource(CONTENTS)], part, WRITER, options)
            again = backup.back_up([SyntheticSource(CONTENTS)], part, WRITER, options)
        assert restored(store) == restored(store, done.backup.ref.id) == CONTENTS
        assert errors(store) == []
        assert again.backup.manifest.packs == 0
        assert len(object_names(store, "packs/")) == done.backup.manifest.packs > 10
        assert done.links == (f"{store.url.partition('?')[0]}/{ROOT}manifests/{done.backup.ref.name}",)

    def test_a_database_goes_into_a_bucket_and_comes_back_from_the_command_line(
        self, server: S3Server, address: Address, database: Database, target_database: Database, tmp_path: Path
    ):
        database.psql("CREATE TABLE t AS SELECT n, 'row ' || n AS text FROM generate_series(1, 5000) AS n")
        secret = tmp_path / "secret"
        secret.write_text(server.key.secret)
        secret.chmod(0o600)
        settings = {
            "SOURCE": database.uri,
            "STORE": f"{address.url}&name=far-away",
            "STORE_FAR_AWAY_ACCESS_KEY_ID": server.key.id,
            "STORE_FAR_AWAY_SECRET_ACCESS_KEY_FILE": secret,
            "KEY": OWNER.words,
        }
        made = call("backup", "--json", **settings)
        assert made.json["manifest"]["links"][0].startswith(f"s3://{address.bucket}/Of%20many/")
        call("restore", "latest", "--to", target_database.uri, **settings)
        assert target_database.psql("SELECT count(*), max(text) FROM t") == "5000|row 999"
        assert server.key.secret not in made.out + made.err

    def test_an_empty_bucket_holds_nobodys_backups_and_a_missing_one_is_an_error(
        self, server: S3Server, address: Address
    ):
        secrets = {"STORE_S3_ACCESS_KEY_ID": server.key.id, "STORE_S3_SECRET_ACCESS_KEY": server.key.secret}
        settings = {"KEY": OWNER.words, **secrets}
        assert "it holds nobody's backups" in call("list", STORE=address.url, expect=10, **settings).err
        missing = server.address("nowhere").url
        assert "there is no bucket nowhere" in call("list", STORE=missing, expect=13, **settings).err
        assert "there is no bucket nowhere" in call("key", "reader", STORE=missing, expect=13, **settings).err
        assert call("key", "reader", "--json", STORE=address.url, **settings).json["number"] == 1


def test_only_what_is_far_away_gets_several_packs_at_once():
    assert assemble.uploads(config.load(environment={"DWEBBACKUP_STORE": "s3://bucket"})) == 4
    assert assemble.uploads(config.load(environment={"DWEBBACKUP_STORE": "file:///backups"})) == 1
    assert assemble.uploads(config.load(environment={"DWEBBACKUP_STORE": "file:///a file:///b?name=b"})) == 1


def test_several_stores_get_fewer_packs_at_once_than_one():
    """What speaks to each of them takes memory as well."""
    assert assemble.uploads(config.load(environment={"DWEBBACKUP_STORE": "s3://bucket file:///backups"})) == 3


def test_a_folder_does_not_wait_for_boto3():
    script = (
        "import sys; from dwebbackup import assemble, config;"
        "assemble.store(config.load(environment={'DWEBBACKUP_STORE': sys.argv[1]}));"
        "print('boto3' in sys.modules)"
    )
    loaded = [
        subprocess.run([sys.executable, "-c", script, url], capture_output=True, text=True, check=True).stdout.strip()
        for url in ("file:///backups", "s3://bucket")
    ]
    assert loaded == ["False", "True"]
