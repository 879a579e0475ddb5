"""Link, Content-Range and the Range of uploads."""

from __future__ import annotations

import pytest

from mirrord.errors import AddressRefusedError, ListingIncompleteError
from mirrord.registry.links import content_range, linked, next_link, upload_range

PAGE = "https://reg.example/v2/app/tags/list?n=2"

NEXT: list[tuple[str, list[str], str | None]] = [
    ("none", [], None),
    ("empty", [" "], None),
    ("distribution", ['</v2/app/tags/list?last=b&n=2>; rel="next"'], "https://reg.example/v2/app/tags/list?last=b&n=2"),
    ("absolute", ['<https://reg.example/x?y>; rel="next"'], "https://reg.example/x?y"),
    ("no-quotes", ["<?last=b>;rel=next"], "https://reg.example/v2/app/tags/list?last=b"),
    ("upper-case", ['<?a>; REL="Next"'], "https://reg.example/v2/app/tags/list?a"),
    ("several-rels", ['<?a>; rel="last next"'], "https://reg.example/v2/app/tags/list?a"),
    ("first-rel-counts", ['<?a>; rel=prev; rel=next, <?b>; rel="next"'], "https://reg.example/v2/app/tags/list?b"),
    ("several-links", ['<?a>; rel="prev", <?b>; rel="next"'], "https://reg.example/v2/app/tags/list?b"),
    ("several-headers", ["<?a>; rel=prev", "<?b>; rel=next"], "https://reg.example/v2/app/tags/list?b"),
    ("only-prev", ['<?a>; rel="prev"'], None),
    ("empty-rel", ["<?a>; rel"], None),
    ("without-rel", ["<?a>"], "https://reg.example/v2/app/tags/list?a"),
    ("other-parameters", ['<?a>; title="x; rel=prev, <y>"; rel="next"'], "https://reg.example/v2/app/tags/list?a"),
    (
        "raw-characters",
        ["</v2/_catalog?last=a,b;{c}|&n=1>; rel=next"],
        "https://reg.example/v2/_catalog?last=a,b;{c}|&n=1",
    ),
    ("encoded-stays", ["<?last=a%2Fb%3a>; rel=next"], "https://reg.example/v2/app/tags/list?last=a%2Fb%3a"),
    (
        "empty-parameter",
        ["</v2/app/tags/list?last=b&n=2&orderby=>; rel=next"],
        "https://reg.example/v2/app/tags/list?last=b&n=2&orderby=",
    ),
    ("relative-up", ["<../x?y>; rel=next"], "https://reg.example/v2/app/x?y"),
    ("broken-second-link", ["<?a>; rel=next, <?b"], "https://reg.example/v2/app/tags/list?a"),
    ("other-host", ["<https://evil.test/x>; rel=next"], "https://evil.test/x"),
]


@pytest.mark.covers("E50")
@pytest.mark.parametrize(("values", "expected"), [case[1:] for case in NEXT], ids=[case[0] for case in NEXT])
def test_next_link_is_resolved_against_the_request(values: list[str], expected: str | None) -> None:
    assert next_link(values, PAGE) == expected


@pytest.mark.covers("E50")
@pytest.mark.parametrize(
    "value", ["/v2/x?last=b; rel=next", "<?a", "x" * 64 * 1024 + "<?a>; rel=next", "<?a>; rel=prev, " * 33]
)
def test_next_link_never_takes_an_unreadable_header_for_the_end(value: str) -> None:
    with pytest.raises(ListingIncompleteError, match="Link header"):
        next_link([value], PAGE)


@pytest.mark.covers("E49")
@pytest.mark.parametrize("target", ["\\\\evil\\x", "", "/a b"])
def test_next_link_refuses_a_target_that_is_no_url(target: str) -> None:
    with pytest.raises(AddressRefusedError, match="LINK_UNTRUSTED"):
        next_link([f"<{target}>; rel=next"], PAGE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-99/100", (0, 99, 100)),
        ("bytes 5-99/*", (5, 99, None)),
        (" Bytes=5-9 / 10 ", (5, 9, 10)),
        ("bytes 5-9", (5, 9, None)),
        ("bytes */100", None),
        ("bytes 9-5/100", None),
        ("bytes 0-100/100", None),
        ("items 0-1/2", None),
        ("bytes 0-" + "9" * 40, None),
        ("", None),
    ],
)
def test_content_range_is_read_or_refused(value: str, expected: tuple[int, int, int | None] | None) -> None:
    assert content_range(value) == expected


@pytest.mark.covers("E57")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0-9", 9),
        ("bytes=0-9", 9),
        ("bytes 0 - 9 ", 9),
        ("0-0", 0),
        ("0-1000000000000000000", 10**18),
        ("5-9", None),
        ("9-5", None),
        ("0--1", None),
        ("0-" + "9" * 40, None),
        ("", None),
    ],
)
def test_upload_range_is_read_leniently(value: str, expected: int | None) -> None:
    assert upload_range(value) == expected


LAST = '<https://api.example/x?page=2>; rel="next", <https://api.example/x?page=9>; rel="last"'


@pytest.mark.parametrize(
    ("values", "rel", "expected"),
    [
        ([LAST], "last", "https://api.example/x?page=9"),
        ([LAST], "next", "https://api.example/x?page=2"),
        ([LAST], "first", None),
        (['<?a>; rel="first last"'], "last", "?a"),
        (["<?a>"], "last", None),
        (["<unclosed"], "last", None),
        ([f"<{'x' * 70_000}>; rel=last"], "last", None),
        ([], "last", None),
    ],
)
def test_link_of_a_relation_is_found_or_there_is_none(values: list[str], rel: str, expected: str | None) -> None:
    """A hint only: what cannot be read is none."""
    assert linked(values, rel) == expected
