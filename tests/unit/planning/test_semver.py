"""Versions in tags, and ranges of them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.planning.semver import Version, VersionRange


def version(text: str) -> Version:
    parsed = Version.parse(text)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1.25.3", Version(1, 25, 3), id="three numbers"),
        pytest.param("v1.25.3", Version(1, 25, 3), id="with v"),
        pytest.param("1.25", Version(1, 25, 0), id="two numbers"),
        pytest.param("7", Version(7, 0, 0), id="one number"),
        pytest.param("24.04", Version(24, 4, 0), id="leading zero"),
        pytest.param("1.25.3-rc.1", Version(1, 25, 3, ("rc", 1)), id="prerelease"),
        pytest.param("1.25.3-alpine", Version(1, 25, 3, ("alpine",)), id="variant is a prerelease"),
        pytest.param("1.25-alpine3.18", Version(1, 25, 0, ("alpine3", 18)), id="variant of two numbers"),
        pytest.param("1.0.0--a-", Version(1, 0, 0, ("-a-",)), id="hyphens in a prerelease"),
        pytest.param("9" * 18, Version(int("9" * 18)), id="eighteen digits"),
        pytest.param("1.0.0-" + "9" * 18, Version(1, 0, 0, (int("9" * 18),)), id="eighteen digits in a prerelease"),
    ],
)
def test_version_is_read_from_a_tag(text: str, expected: Version) -> None:
    assert Version.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("latest", id="word"),
        pytest.param("", id="empty"),
        pytest.param("v", id="v alone"),
        pytest.param("V1", id="upper-case v"),
        pytest.param("1.2.3.4", id="four numbers"),
        pytest.param("1..2", id="empty number"),
        pytest.param("1.2.", id="trailing dot"),
        pytest.param("1.2.3-", id="empty prerelease"),
        pytest.param("1.2.3-a..b", id="empty identifier"),
        pytest.param("17.0.10_7-jdk", id="underscore"),
        pytest.param("1.2.3+build", id="build metadata"),
        pytest.param("1.2.3\n", id="line feed"),
        pytest.param("\u0661.\u0662", id="other digits"),
        pytest.param("9" * 19, id="nineteen digits"),
        pytest.param("1.0.0-" + "9" * 19, id="nineteen digits in a prerelease"),
        pytest.param("1.0.0-" + "9" * 5_000, id="more digits than Python reads"),
    ],
)
def test_text_that_is_no_version_gives_none(text: str) -> None:
    assert Version.parse(text) is None


def test_versions_are_ordered_by_the_precedence_of_semver() -> None:
    texts = """0.0.1 0.9.0 1.0.0-0 1.0.0-1 1.0.0-2 1.0.0-10 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta
        1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0 10.0.0"""

    versions = [version(text) for text in texts.split()]

    shuffled = versions[1::2] + versions[::2]

    assert sorted(shuffled) == versions
    assert all(low < high and high > low and low != high for low, high in pairwise(versions))
    assert version("v1.25") == version("1.25.0")
    assert version("1.0.0-01") == version("1.0.0-1")


def test_version_prints_in_full() -> None:
    assert str(version("v1.25")) == "1.25.0"
    assert str(version("1.25-rc.1")) == "1.25.0-rc.1"


CANDIDATES = [
    "0.0.3",
    "0.0.4",
    "0.2.2",
    "0.2.3",
    "0.2.9",
    "0.3.0",
    "1.0.0",
    "1.1.9",
    "1.2.0",
    "1.2.3",
    "1.2.9",
    "1.3.0",
    "1.4.0",
    "1.4.5",
    "1.4.6",
    "1.5.0",
    "2.0.0",
    "2.0.1",
    "3.0.0",
]


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        pytest.param("*", CANDIDATES, id="any"),
        pytest.param("x", CANDIDATES, id="any, by letter"),
        pytest.param(">=*", CANDIDATES, id="any, by comparator"),
        pytest.param("1.2.3", "1.2.3", id="one version"),
        pytest.param("=1.2.3", "1.2.3", id="one version, by sign"),
        pytest.param("v1.2.3", "1.2.3", id="one version with v"),
        pytest.param("1.2", "1.2.0 1.2.3 1.2.9", id="two numbers"),
        pytest.param("=1.2", "1.2.0 1.2.3 1.2.9", id="two numbers by sign"),
        pytest.param("1.2.*", "1.2.0 1.2.3 1.2.9", id="star"),
        pytest.param("1.2.x", "1.2.0 1.2.3 1.2.9", id="x"),
        pytest.param("0.X", "0.0.3 0.0.4 0.2.2 0.2.3 0.2.9 0.3.0", id="major"),
        pytest.param("2.x.x", "2.0.0 2.0.1", id="two wildcards"),
        pytest.param(">=1.4.5 <2", "1.4.5 1.4.6 1.5.0", id="and by space"),
        pytest.param(">=1.4.5,<2", "1.4.5 1.4.6 1.5.0", id="and by comma"),
        pytest.param(">=1.4.5<2", "1.4.5 1.4.6 1.5.0", id="and by nothing"),
        pytest.param(" >= 1.4.5 ,  < 2 ", "1.4.5 1.4.6 1.5.0", id="spaces"),
        pytest.param(">1.4", "1.5.0 2.0.0 2.0.1 3.0.0", id="greater than all of a minor"),
        pytest.param(">2.0.0", "2.0.1 3.0.0", id="greater than one version"),
        pytest.param("<=0.2", "0.0.3 0.0.4 0.2.2 0.2.3 0.2.9", id="up to all of a minor"),
        pytest.param("<=0.2.3", "0.0.3 0.0.4 0.2.2 0.2.3", id="up to one version"),
        pytest.param("<0.2", "0.0.3 0.0.4", id="less than a minor"),
        pytest.param("<0.2.3", "0.0.3 0.0.4 0.2.2", id="less than one version"),
        pytest.param("1.4 !=1.4.5", "1.4.0 1.4.6", id="not one version"),
        pytest.param("1.x !=1.2 !=1.4", "1.0.0 1.1.9 1.3.0 1.5.0", id="not a minor"),
        pytest.param("^1.2.3", "1.2.3 1.2.9 1.3.0 1.4.0 1.4.5 1.4.6 1.5.0", id="caret"),
        pytest.param("^0.2.3", "0.2.3 0.2.9", id="caret on a zero major"),
        pytest.param("^0.0.3", "0.0.3", id="caret on a zero minor"),
        pytest.param("^0.0.0", "", id="caret on zeros"),
        pytest.param("^0.0", "0.0.3 0.0.4", id="caret on two zeros"),
        pytest.param("^0", "0.0.3 0.0.4 0.2.2 0.2.3 0.2.9 0.3.0", id="caret on one zero"),
        pytest.param("^2", "2.0.0 2.0.1", id="caret on a major"),
        pytest.param("~1.2.3", "1.2.3 1.2.9", id="tilde"),
        pytest.param("~1.2", "1.2.0 1.2.3 1.2.9", id="tilde on a minor"),
        pytest.param("~2", "2.0.0 2.0.1", id="tilde on a major"),
        pytest.param("1.2 - 1.4", "1.2.0 1.2.3 1.2.9 1.3.0 1.4.0 1.4.5 1.4.6", id="hyphen"),
        pytest.param("1.2.3 - 1.4.5", "1.2.3 1.2.9 1.3.0 1.4.0 1.4.5", id="hyphen between full versions"),
        pytest.param("* - 0.2.2", "0.0.3 0.0.4 0.2.2", id="hyphen from anything"),
        pytest.param("2 - *", "2.0.0 2.0.1 3.0.0", id="hyphen to anything"),
        pytest.param("1.2 - 1.4 !=1.3.0 <1.4.5", "1.2.0 1.2.3 1.2.9 1.4.0", id="hyphen with more"),
        pytest.param("0.0.3 || 2.x || >=3", "0.0.3 2.0.0 2.0.1 3.0.0", id="alternatives"),
        pytest.param("0.0.3||3", "0.0.3 3.0.0", id="alternatives without spaces"),
        pytest.param("01.02.03", "1.2.3", id="leading zeros"),
    ],
)
def test_range_takes_releases(text: str, taken: str | list[str]) -> None:
    wanted = taken.split() if isinstance(taken, str) else taken
    version_range = VersionRange.parse(text)

    assert [candidate for candidate in CANDIDATES if version_range.matches(version(candidate))] == wanted
    assert version_range.text == str(version_range) == text


PRERELEASES = [
    "1.25.0-alpha",
    "1.25.0-rc.1",
    "1.25.0-rc.2",
    "1.25.0",
    "1.25.3-alpine",
    "1.25.3",
    "1.26.0-rc.1",
    "1.26.0",
    "2.0.0-0",
    "2.0.0-rc.1",
    "2.0.0",
]


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        pytest.param("*", "1.25.0 1.25.3 1.26.0 2.0.0", id="a plain range takes releases"),
        pytest.param(">=1.25 <2", "1.25.0 1.25.3 1.26.0", id="the next major's prereleases are not below it"),
        pytest.param(">=1.25.0-rc.1 <2", "1.25.0-rc.1 1.25.0-rc.2 1.25.0 1.25.3 1.26.0", id="named release only"),
        pytest.param(">1.25-rc.1 <1.26", "1.25.0-rc.2 1.25.0 1.25.3", id="two numbers with a prerelease"),
        pytest.param("=1.25.3-alpine", "1.25.3-alpine", id="exactly"),
        pytest.param("^1.25.0-rc.2", "1.25.0-rc.2 1.25.0 1.25.3 1.26.0", id="caret"),
        pytest.param("~1.25.0-rc.2", "1.25.0-rc.2 1.25.0 1.25.3", id="tilde"),
        pytest.param("1.26.0-rc.1 - 2.0.0-0", "1.26.0-rc.1 1.26.0 2.0.0-0", id="hyphen"),
        pytest.param("^1.25 >=2.0.0-0", "", id="a bound that excludes a major excludes its prereleases"),
        pytest.param("<2.0.0 >=2.0.0-0", "2.0.0-0 2.0.0-rc.1", id="a full version as bound is compared as it is"),
        pytest.param("1.25 || =2.0.0-rc.1", "1.25.0 1.25.3 2.0.0-rc.1", id="alternatives do not open each other"),
        pytest.param(">=1.25.0-alpha !=1.25 <1.26", "", id="not a minor means its prereleases too"),
        pytest.param(">=1.25.0 !=1.25.0-rc.1 <1.26", "1.25.0 1.25.3", id="unequal opens nothing"),
    ],
)
def test_range_takes_prereleases_only_of_releases_that_it_names(text: str, taken: str) -> None:
    version_range = VersionRange.parse(text)

    assert [candidate for candidate in PRERELEASES if version_range.matches(version(candidate))] == taken.split()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param(" , ", "empty", id="separators alone"),
        pytest.param("1 ||", "empty", id="empty alternative"),
        pytest.param(">=", '">="', id="sign alone"),
        pytest.param(">=1.25 <", '"<"', id="sign at the end"),
        pytest.param("=>1", '"=>1"', id="unknown sign"),
        pytest.param("1 | 2", '"| 2"', id="single bar"),
        pytest.param(">=latest", '"latest"', id="word"),
        pytest.param("1.2.3.4", '"1.2.3.4"', id="four numbers"),
        pytest.param("1.x.3", '"1.x.3"', id="number after a wildcard"),
        pytest.param("1.x-rc.1", '"1.x-rc.1"', id="prerelease after a wildcard"),
        pytest.param("1.2.3-" + "9" * 19, "is no version", id="prerelease of nineteen digits"),
        pytest.param("9" * 19, "is no version", id="nineteen digits"),
        pytest.param(">*", '">"', id="greater than anything"),
        pytest.param("!=x", '"!="', id="unequal to anything"),
        pytest.param("1 -", 'after "1"', id="hyphen without an end"),
        pytest.param("- 1", '"-"', id="hyphen without a beginning"),
        pytest.param(">=1 - 2", 'after "1"', id="hyphen after a comparator"),
        pytest.param("1 - <2", 'after "1"', id="hyphen before a comparator"),
        pytest.param("1.4 - 1.2", "1.4.0 to 1.2.0", id="backwards"),
        pytest.param("1 " * 501, "1002 characters", id="too long"),
    ],
)
def test_invalid_range_is_refused_with_the_offending_part(text: str, part: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        VersionRange.parse(text)

    assert caught.value.code == "SEMVER_INVALID"
    assert part in caught.value.message


def test_ranges_are_equal_by_text() -> None:
    assert {VersionRange.parse("1.x"), VersionRange.parse("1.x")} == {VersionRange.parse("1.x")}
    assert repr(VersionRange.parse("1.x")) == "VersionRange(text='1.x')"
