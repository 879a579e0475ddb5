"""Origins: what a credential belongs to; and joining URLs byte for byte."""

from __future__ import annotations

import pytest

from mirrord.errors import AddressRefusedError
from mirrord.registry.origin import Origin, resolve


@pytest.mark.covers("A4")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/v2/", "https://host"),
        ("https://host:443/v2/", "https://host"),
        ("https://host:/v2/", "https://host"),
        ("HTTPS://HOST.Example/", "https://host.example"),
        ("https://host.example./", "https://host.example"),
        ("http://host:80", "http://host"),
        ("http://host:443", "http://host:443"),
        ("https://host:5000?x=1", "https://host:5000"),
        ("https://[2001:DB8::0:1]/", "https://[2001:db8::1]"),
        ("https://[::1]:5000/", "https://[::1]:5000"),
        ("https://under_score/", "https://under_score"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example"),
        ("https://host:00443/", "https://host"),
    ],
)
def test_origin_is_normalised(url: str, expected: str) -> None:
    assert str(Origin.parse(url)) == expected


@pytest.mark.covers("A19")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://known:x@evil/", "a user"),
        ("https://@evil/", "a user"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://host/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("//host/", "no scheme"),
        ("host/v2/", "no scheme"),
        ("", "no scheme"),
        ("https:///v2/", "no host"),
        ("https://./", "no host"),
        ("https:host", "no host"),
        ("https://host\\@evil/", "which no URL has"),
        ("https://ho\tst/", "which no URL has"),
        ("https://host/\x00", "which no URL has"),
        ("https://b\u00fccher.example/", "which no URL has"),
        ("https://host /", "which no URL has"),
        ("https://host:0/", "port"),
        ("https://host:65536/", "port"),
        ("https://host:4430000443/", "port"),
        ("https://host:x/", "port"),
        ("https://a..b/", "no usable host"),
        ("https://ho%73t/", "no usable host"),
        ("https://a,b/", "no usable host"),
        (f"https://{'a' * 254}/", "no usable host"),
        ("https://[::1/", "malformed"),
        ("https://[host]/", "no IPv6"),
        ("https://[fe80::1%25eth0]/", "no IPv6"),
        ("https://[::1]evil/", "malformed"),
        ("https://host/" + "a" * 64 * 1024, "at most 65536"),
    ],
)
def test_origin_refuses_what_is_no_plain_web_url(url: str, reason: str) -> None:
    with pytest.raises(AddressRefusedError, match=reason):
        Origin.parse(url)


BASE = "https://reg.example:5000/v2/app/blobs/uploads/?from=x"

JOINED = [
    ("absolute", "https://store.example/up?sig=a%2Fb%3a&x", "https://store.example/up?sig=a%2Fb%3a&x"),
    (
        "path",
        "/v2/app/blobs/uploads/1?_state=%2f%7E==",
        "https://reg.example:5000/v2/app/blobs/uploads/1?_state=%2f%7E==",
    ),
    ("relative", "1?_state=x", "https://reg.example:5000/v2/app/blobs/uploads/1?_state=x"),
    ("relative-up", "../../tags/list", "https://reg.example:5000/v2/app/tags/list"),
    ("beyond-the-root", "/../../x/./y/..", "https://reg.example:5000/x/"),
    ("network-path", "//cdn.example/x", "https://cdn.example/x"),
    ("query-only", "?n=2&last=b", "https://reg.example:5000/v2/app/blobs/uploads/?n=2&last=b"),
    ("fragment-only", "#x", "https://reg.example:5000/v2/app/blobs/uploads/?from=x"),
    ("fragment-dropped", "/x?y#z", "https://reg.example:5000/x?y"),
    ("host-and-port-without-scheme", "store.example:8443/v2/x", "https://store.example:8443/v2/x"),
    ("own-host-without-scheme", "Reg.example:5000/v2/x", "https://Reg.example:5000/v2/x"),
    ("six-and-port-without-scheme", "[::1]:5000/v2/x", "https://[::1]:5000/v2/x"),
    ("upper-case-scheme", "HTTP://h/x", "http://h/x"),
    ("blanks-around", " /x\t", "https://reg.example:5000/x"),
    ("raw-characters", "/v2/_catalog?last={a}<b>|^`", "https://reg.example:5000/v2/_catalog?last={a}<b>|^`"),
    ("encoded-dots-stay", "/a/%2e%2e/b", "https://reg.example:5000/a/%2e%2e/b"),
    ("empty-query", "/x?", "https://reg.example:5000/x?"),
    ("other-scheme-untouched", "file:/etc/passwd", "file:/etc/passwd"),
]


@pytest.mark.parametrize(("location", "expected"), [case[1:] for case in JOINED], ids=[case[0] for case in JOINED])
def test_resolve_joins_and_keeps_every_byte(location: str, expected: str) -> None:
    assert resolve(BASE, location) == expected


def test_resolve_knows_a_host_without_scheme_and_port_by_its_base() -> None:
    assert resolve("https://reg.example/v2/", "reg.example/v2/x") == "https://reg.example/v2/x"


@pytest.mark.parametrize("base", ["https://reg.example", "https://reg.example?x"], ids=["bare", "query"])
def test_resolve_joins_a_relative_path_to_a_base_without_one(base: str) -> None:
    assert resolve(base, "v2/x") == "https://reg.example/v2/x"


@pytest.mark.covers("E56")
@pytest.mark.parametrize("location", ["", "  ", "\\\\evil\\x", "/x\r\nSet-Cookie: a", "/a b", "/\u00e9", "x" * 65537])
def test_resolve_refuses_what_no_url_has(location: str) -> None:
    with pytest.raises(AddressRefusedError):
        resolve(BASE, location)
