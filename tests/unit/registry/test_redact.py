"""What is shown of URLs and of remote text."""

from __future__ import annotations

import pytest

from mirrord.registry.redact import PLACEHOLDER, hide, redact_text, redact_url, sent_secrets


@pytest.mark.covers("C33")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:5000/v2/a/blobs/sha256:b", "https://host:5000/v2/a/blobs/sha256:b"),
        ("https://u:p@host/x?sig=s#f", "https://host/x?[redacted]"),
        ("https://a@b@host/x", "https://host/x"),
        ("https://host/x#token", "https://host/x"),
        ("https://user:pa/ss@host/x", "https://[redacted]"),
        ("https://user:pa\\ss@host/x", "https://[redacted]"),
        ("//u:p@host/x", "//host/x"),
        ("u:p@host/x?y", "host/x?[redacted]"),
        ("/v2/a?state=x", "/v2/a?[redacted]"),
        ("https://[::1]:5000/x", "https://[::1]:5000/x"),
        ("", ""),
        ("https://host/\x1b[31m\u202e", "https://host/\\x1b[31m\\u202e"),
        ("https://host/" + "a" * 400, "https://host/" + "a" * 287 + "..."),
    ],
)
def test_redact_url_leaves_user_and_query_out(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.covers("C33", "E62")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing to hide", "nothing to hide"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {PLACEHOLDER}"),
        ("basic dXNlcjpwYXNz is wrong", f"basic {PLACEHOLDER} is wrong"),
        ("got eyJhbGciOi.eyJzdWIi.sig-na_ture here", f"got {PLACEHOLDER} here"),
        ("token ghp_16C7e42F292c6912E7", f"token ghp_{PLACEHOLDER}"),
        ("key AKIAIOSFODNN7EXAMPLE", f"key AKIA{PLACEHOLDER}"),
        ('{"password": "hunter2"}', f'{{"password": "{PLACEHOLDER}"}}'),
        ("secret=hunter2&x=1", f"secret={PLACEHOLDER}&x=1"),
        ("see https://u:p@host/x?sig=abc.", "see https://host/x?[redacted]"),
        ("invalid token: expired", f"invalid token: {PLACEHOLDER}"),
        ("authentication token required", "authentication token required"),
        ("Basic authentication required", "Basic [redacted] required"),
    ],
)
def test_redact_text_replaces_what_looks_like_a_secret(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"no user with pass/w rd here", b"no user with [redacted] here"),
        (b'{"message":"bad \\"quoted\\" one"}', b'{"message":"bad [redacted] one"}'),
        (b"GET /token?password=pass%2Fw%20rd", b"GET /token?password=[redacted]"),
        (b"an abc is an abc", b"an abc is an abc"),
    ],
    ids=["plain", "json", "url", "too short to be told from words"],
)
def test_hide_leaves_out_what_was_sent_in_whatever_words_it_comes_back(body: bytes, shown: bytes) -> None:
    assert hide(body, ["pass/w rd", '"quoted"', "abc"]) == shown


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ({"authorization": "Bearer abc.def"}, ["abc.def"]),
        ({"authorization": "Basic cm9ib3Q6cGE6c3M="}, ["cm9ib3Q6cGE6c3M=", "pa:ss"]),
        ({"authorization": "Basic not base64"}, ["not base64"]),
        ({"job-token": "abc", "x-identity-header": "def", "accept": "text/plain"}, ["abc", "def"]),
        ({"authorization": "Bearer"}, []),
        ({}, []),
    ],
    ids=["token", "password", "odd", "headers of APIs", "nothing after the scheme", "nothing"],
)
def test_sent_secrets_are_those_of_the_headers(headers: dict[str, str], secrets: list[str]) -> None:
    assert sent_secrets(headers) == secrets
