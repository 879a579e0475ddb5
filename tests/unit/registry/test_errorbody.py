"""From answers to errors: the class, the code, and what the reader is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mirrord.errors import (
    DeniedError,
    MissingContentError,
    NotFoundError,
    ProtocolViolationError,
    QuotaExhaustedError,
    RateLimitedError,
    RegistryError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.registry.errorbody import error_from_response
from mirrord.registry.errortext import read_error_body

NOW = datetime(2025, 11, 24, 12, 0, 0, tzinfo=UTC)
MANIFEST = "/v2/app/manifests/1.0"
BLOB = "/v2/app/blobs/sha256:aa"
UPLOAD = "/v2/app/blobs/uploads/123"
TAGS = "/v2/app/tags/list"


def oci(code: str, message: str = "", detail: object = None) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


def error(
    status: int, body: bytes = b"", *, method: str = "GET", path: str = MANIFEST, headers: dict[str, str] | None = None
) -> RegistryError:
    return error_from_response(
        host="reg.example",
        method=method,
        path=path,
        status=status,
        headers=headers or {},
        body=body,
        what="read manifest 1.0 of app",
        now=NOW,
    )


Expected = tuple[type[RegistryError], str]
CASES: list[tuple[str, str, str, int, bytes, Expected]] = [
    ("unauthorized", "GET", MANIFEST, 401, oci("UNAUTHORIZED"), (UnauthorizedError, "AUTH_REJECTED")),
    ("scope", "PUT", MANIFEST, 401, oci("DENIED", "insufficient_scope"), (UnauthorizedError, "AUTH_REJECTED")),
    ("denied", "GET", MANIFEST, 403, oci("DENIED"), (DeniedError, "DENIED")),
    ("denied-empty", "GET", MANIFEST, 403, b"", (DeniedError, "DENIED")),
    ("legal", "GET", MANIFEST, 451, b"", (DeniedError, "DENIED")),
    (
        "secondary-rate-limit",
        "GET",
        MANIFEST,
        403,
        b"You have exceeded a secondary rate limit.",
        (RateLimitedError, "RATE_LIMITED"),
    ),
    (
        "ecr-expired",
        "GET",
        MANIFEST,
        403,
        oci("DENIED", "Your authorization token has expired. Reauthenticate and try again."),
        (UnauthorizedError, "AUTH_EXPIRED"),
    ),
    ("name-unknown", "GET", TAGS, 404, oci("NAME_UNKNOWN"), (NotFoundError, "NOT_FOUND")),
    ("manifest-unknown", "GET", MANIFEST, 404, oci("MANIFEST_UNKNOWN"), (NotFoundError, "NOT_FOUND")),
    ("gone", "GET", MANIFEST, 410, b"", (NotFoundError, "NOT_FOUND")),
    ("method", "POST", UPLOAD, 405, b"", (UnsupportedError, "UNSUPPORTED")),
    ("media-type", "PUT", MANIFEST, 415, oci("MANIFEST_INVALID"), (UnsupportedError, "UNSUPPORTED")),
    ("no-manifest-type", "PUT", MANIFEST, 405, oci("UNSUPPORTED", "no mediaType"), (UnsupportedError, "UNSUPPORTED")),
    ("deletion", "DELETE", MANIFEST, 405, oci("UNSUPPORTED"), (UnsupportedError, "UNSUPPORTED")),
    ("not-implemented", "GET", TAGS, 501, b"", (UnsupportedError, "UNSUPPORTED")),
    (
        "nginx-body",
        "PATCH",
        UPLOAD,
        413,
        b"<html><head><title>413 Request Entity Too Large</title></head></html>",
        (UnsupportedError, "BODY_TOO_LARGE_FOR_PROXY"),
    ),
    ("range", "PATCH", UPLOAD, 416, b"", (RegistryError, "RANGE_REFUSED")),
    ("proxy-login", "GET", MANIFEST, 407, b"", (RegistryError, "PROXY_AUTH_REQUIRED")),
    ("throttled", "GET", MANIFEST, 429, oci("TOOMANYREQUESTS"), (RateLimitedError, "RATE_LIMITED")),
    (
        "quota-of-pulls",
        "GET",
        MANIFEST,
        429,
        oci("TOOMANYREQUESTS", "You have reached your pull rate limit. https://www.docker.com/increase-rate-limit"),
        (QuotaExhaustedError, "QUOTA_EXHAUSTED"),
    ),
    (
        "quota-in-the-text-of-an-upload",
        "PATCH",
        UPLOAD,
        429,
        oci("TOOMANYREQUESTS", "pull rate limit"),
        (RateLimitedError, "RATE_LIMITED"),
    ),
    (
        "missing-blob",
        "PUT",
        MANIFEST,
        400,
        oci("MANIFEST_BLOB_UNKNOWN"),
        (MissingContentError, "MANIFEST_BLOB_UNKNOWN"),
    ),
    ("missing-blob-zot", "PUT", MANIFEST, 404, oci("BLOB_UNKNOWN"), (MissingContentError, "MANIFEST_BLOB_UNKNOWN")),
    ("blob-of-a-read", "GET", BLOB, 404, oci("BLOB_UNKNOWN"), (NotFoundError, "NOT_FOUND")),
    (
        "immutable-ecr",
        "PUT",
        MANIFEST,
        400,
        oci("TAG_INVALID", "The image tag '1.0' already exists in the 'app' repository and cannot be overwritten"),
        (DeniedError, "TAG_IMMUTABLE"),
    ),
    (
        "invalid-tag",
        "PUT",
        MANIFEST,
        400,
        oci("TAG_INVALID", "manifest tag did not match"),
        (RegistryError, "REQUEST_REFUSED"),
    ),
    ("immutable-harbor", "PUT", MANIFEST, 412, oci("PRECONDITION", "matched"), (DeniedError, "TAG_IMMUTABLE")),
    ("precondition-of-a-read", "GET", MANIFEST, 412, b"", (RegistryError, "REQUEST_REFUSED")),
    ("immutable-quay", "PUT", MANIFEST, 409, b"", (DeniedError, "TAG_IMMUTABLE")),
    ("conflict-of-a-delete", "DELETE", MANIFEST, 409, b"", (RegistryError, "REQUEST_REFUSED")),
    ("conflict-of-an-upload", "PUT", UPLOAD, 409, b"", (RegistryError, "REQUEST_REFUSED")),
    ("immutable-acr", "PUT", MANIFEST, 405, oci("UNSUPPORTED", "the tag is immutable"), (DeniedError, "TAG_IMMUTABLE")),
    ("bad-request", "GET", TAGS, 400, oci("PAGINATION_NUMBER_INVALID"), (RegistryError, "REQUEST_REFUSED")),
    ("timeout", "GET", MANIFEST, 408, b"", (UnavailableError, "UNAVAILABLE")),
    ("client-closed", "GET", MANIFEST, 499, b"", (UnavailableError, "UNAVAILABLE")),
    ("server", "GET", MANIFEST, 500, b"", (UnavailableError, "UNAVAILABLE")),
    ("cloudflare", "GET", MANIFEST, 522, b"error code: 522", (UnavailableError, "UNAVAILABLE")),
    ("storage", "PUT", UPLOAD, 507, b"", (UnavailableError, "TARGET_STORAGE")),
    ("success-elsewhere", "PUT", MANIFEST, 204, b"", (ProtocolViolationError, "UNEXPECTED_STATUS")),
    ("unknown-status", "GET", MANIFEST, 299, b"", (ProtocolViolationError, "UNEXPECTED_STATUS")),
    ("unknown-client-status", "GET", MANIFEST, 477, b"", (RegistryError, "REQUEST_REFUSED")),
]


@pytest.mark.covers("E61", "E62", "C36")
@pytest.mark.parametrize(
    ("method", "path", "status", "body", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_error_has_the_class_and_code_of_its_answer(
    method: str, path: str, status: int, body: bytes, expected: Expected
) -> None:
    found = error(status, body, method=method, path=path)

    assert (type(found), found.code) == expected
    assert (found.host, found.method, found.path, found.status) == ("reg.example", method, path, status)
    assert f"read manifest 1.0 of app: reg.example answered {status}" in str(found)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(429, True), (500, True), (503, True), (522, True), (505, False), (404, False), (400, False)],
)
def test_error_says_whether_the_same_request_may_work_later(status: int, retryable: bool) -> None:
    assert error(status).retryable is retryable


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (TAGS, "NAME_UNKNOWN", "no such repository"),
        (MANIFEST, "MANIFEST_UNKNOWN", "no such tag or manifest"),
        (MANIFEST, "", "no such tag or manifest"),
        (BLOB, "BLOB_UNKNOWN", "no such blob"),
        (BLOB, "", "no such blob"),
        (UPLOAD, "", "upload session is gone"),
        (BLOB, "BLOB_UPLOAD_UNKNOWN", "upload session is gone"),
        (TAGS, "", "answered 404 Not Found"),
    ],
)
def test_error_tells_apart_what_is_missing(path: str, code: str, words: str) -> None:
    assert words in str(error(404, oci(code) if code else b"", path=path))


def test_error_of_an_upload_that_never_began_speaks_of_no_session() -> None:
    """A registry that answers so to the first request lacks something else than a session."""
    assert "session" not in str(error(404, method="POST", path="/v2/app/blobs/uploads/"))


@pytest.mark.parametrize(
    ("status", "method", "words"),
    [
        (413, "PATCH", "client_max_body_size"),
        (405, "DELETE", "REGISTRY_STORAGE_DELETE_ENABLED"),
        (401, "GET", "mirrord auth check"),
        (429, "GET", "requests_per_second"),
        (412, "PUT", "immutability"),
        (412, "DELETE", "or leave it there"),
    ],
)
def test_error_says_what_to_do(status: int, method: str, words: str) -> None:
    assert words in error(status, method=method).remedy


@pytest.mark.covers("D28")
def test_error_carries_the_wait_that_was_asked_for() -> None:
    assert error(429, headers={"Retry-After": "2"}).retry_after_s == 2
    assert error(503, headers={"Retry-After": "5"}).retry_after_s == 5
    assert error(403, oci("TOOMANYREQUESTS", "retry-after: 1.5s")).retry_after_s == 1.5
    assert error(429).retry_after_s is None


@pytest.mark.parametrize(
    ("headers", "kind", "retryable"),
    [
        pytest.param({"ratelimit-remaining": "0;w=21600"}, QuotaExhaustedError, False, id="nothing left"),
        pytest.param({"ratelimit-remaining": "0;w=60", "Retry-After": "30"}, QuotaExhaustedError, True, id="for now"),
        pytest.param({"ratelimit-remaining": "20;w=21600"}, RateLimitedError, True, id="some left: too fast"),
        pytest.param({}, RateLimitedError, True, id="not told"),
    ],
)
def test_quota_that_is_used_up_is_told_from_a_limit_on_requests(
    headers: dict[str, str], kind: type[RegistryError], retryable: bool
) -> None:
    found = error(429, b"Too Many Requests", headers=headers)

    assert type(found) is kind
    assert found.retryable is retryable


def test_right_that_a_token_lacks_is_seen_in_the_challenge() -> None:
    challenge = 'Bearer realm="https://auth.docker.io/token",scope="repository:a/b:pull",error="insufficient_scope"'

    assert "no right to this, or there is no such thing" in str(error(401, headers={"Www-Authenticate": challenge}))


def test_error_drops_the_query_of_its_path() -> None:
    found = error(404, path="/v2/app/blobs/uploads/1?_state=secret#x")

    assert found.path == "/v2/app/blobs/uploads/1"
    assert "secret" not in str(found)


def test_error_keeps_the_codes_of_the_body() -> None:
    body = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"},{"code":"manifest_blob_unknown"},{"code":"DENIED"}]}'

    assert error(400, body).error_codes == ("MANIFEST_BLOB_UNKNOWN", "DENIED")


DISK_FULL = (
    b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem",'
    b'"Enclosed":{"Op":"mkdir","Path":"/var/lib/registry/docker","Err":28}}}]}'
)


@pytest.mark.covers("D82", "E63")
@pytest.mark.parametrize(
    "body",
    [DISK_FULL, b"write /srv/data/x: no space left on device", oci("UNKNOWN", "ENOSPC in /data/y")],
    ids=["distribution-detail", "text", "message"],
)
def test_error_of_a_full_disk_names_no_file_of_the_server(body: bytes) -> None:
    found = error(500, body, method="PUT", path=UPLOAD)

    assert (type(found), found.code, found.retryable) == (UnavailableError, "TARGET_STORAGE", True)
    assert "storage is full" in str(found)
    assert all(place not in str(found) for place in ("/var", "/srv", "/data"))


SHAPES: list[tuple[str, bytes, tuple[str, ...], str]] = [
    ("empty", b"", (), ""),
    ("oci", oci("DENIED", "no access", {"Path": "/x"}), ("DENIED",), "DENIED: no access"),
    ("bare-object", b'{"code":"NAME_UNKNOWN","message":"unknown"}', ("NAME_UNKNOWN",), "NAME_UNKNOWN: unknown"),
    ("details", b'{"details":"quota reached"}', (), "quota reached"),
    ("detail-object-hidden", b'{"detail":{"a":1}}', (), ""),
    ("token-server", b'{"error":"invalid_grant","error_description":"bad"}', ("INVALID_GRANT",), "invalid_grant: bad"),
    ("nested-error", b'{"error":{"code":"X_Y","message":"m"}}', ("X_Y",), "X_Y: m"),
    ("error-only", b'{"error":"something is wrong"}', (), "something is wrong"),
    ("errors-of-texts", b'{"errors":["one","two"]}', (), "one; two"),
    ("errors-is-object", b'{"errors":{"code":"A1","message":"b"}}', ("A1",), "A1: b"),
    ("errors-is-text", b'{"errors":"broken"}', (), "broken"),
    ("errors-empty", b'{"errors":[]}', (), ""),
    ("errors-null", b'{"errors":null,"message":"m"}', (), "m"),
    ("errors-nonsense", b'{"errors":[null,1,[],{}]}', (), ""),
    ("list", b'[{"code":"AA"}]', ("AA",), "AA"),
    ("code-is-number", b'{"code":404,"message":"m"}', (), "m"),
    ("code-is-prose", b'{"code":"not a code"}', (), "not a code"),
    ("same-twice", b'{"errors":[{"code":"AA"},{"code":"AA"}]}', ("AA",), "AA"),
    ("number", b"5", (), "5"),
    ("cut-off", b'{"errors":[{"code":"DENIED","message":"no', ("DENIED",), ""),
    ("too-deep", b"[" * 60000, (), ""),
    ("huge-number", b'{"code":' + b"9" * 5000 + b"}", (), ""),
    ("raw-control", b'{"message":"a\x1bb"}', (), "a\\x1bb"),
    ("html-title", b"<html><title>502 Bad\n Gateway</title><body>x</body></html>", (), "502 Bad Gateway"),
    ("html-no-title", b"<h1>No</h1><script>alert(1)</script> way &amp; more", (), "No way & more"),
    ("html-open-script", b"<p>No</p><script>alert(1)", (), "No"),
    ("html-empty-title", b"<title> </title><p>x", (), "x"),
    ("text", b"  404 page\r\nnot found ", (), "404 page not found"),
    ("ansi", b"\x1b[31mred\x1b[0m", (), "\\x1b[31mred\\x1b[0m"),
    ("bidi", "a\u202eb".encode(), (), "a\\u202eb"),
    ("invalid-utf-8", b"\xff\xfe", (), "\ufffd\ufffd"),
    ("secret", b"bad token: Bearer abcdef123456", (), "bad token: Bearer [redacted]"),
    ("signed-url", b"see https://s3/x?X-Amz-Signature=abc", (), "see https://s3/x?[redacted]"),
    ("server-path", b"open /var/lib/registry/x: denied", (), "open [path]: denied"),
    ("api-path", b"no route /v2/app", (), "no route /v2/app"),
]


@pytest.mark.covers("E62", "E63", "C34")
@pytest.mark.parametrize(("body", "codes", "excerpt"), [case[1:] for case in SHAPES], ids=[case[0] for case in SHAPES])
def test_error_bodies_of_any_shape_are_read(body: bytes, codes: tuple[str, ...], excerpt: str) -> None:
    found = read_error_body(body)

    assert (found.codes, found.excerpt) == (codes, excerpt)


@pytest.mark.covers("E62")
@pytest.mark.parametrize("body", [b"x" * 2**20, b"\x1b" * 2**20, oci("UNKNOWN", "y " * 2**19), oci("Z" * 999)])
def test_excerpts_have_at_most_200_characters(body: bytes) -> None:
    assert len(read_error_body(body).excerpt) <= 200
