"""Patterns of tags and of repository paths."""

from __future__ import annotations

import pickle
import time

import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Tag
from mirrord.planning.pattern import PathPattern, TagPattern


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("stable", id="word"),
        pytest.param("1.20", id="looks like a float"),
        pytest.param("010", id="looks octal"),
        pytest.param("no", id="looks like a boolean"),
        pytest.param("0x10", id="looks hexadecimal"),
    ],
)
@pytest.mark.covers("E79")
def test_tag_pattern_without_wildcards_is_a_literal(text: str) -> None:
    pattern = TagPattern.parse(text)

    assert pattern.literal == Tag(text)
    assert pattern.matches(Tag(text))
    assert not pattern.matches(Tag(f"{text}x"))
    assert str(pattern) == text


@pytest.mark.parametrize(
    ("text", "taken", "refused"),
    [
        pytest.param("*", ["a", "1.2.3-rc_1"], [], id="everything"),
        pytest.param("1.2*", ["1.2", "1.25", "1.2.3-alpine"], ["11.2", "1x2"], id="prefix, with a literal dot"),
        pytest.param("*-rc*", ["1-rc", "1.0-rc.1"], ["1.0", "1rc"], id="both sides"),
        pytest.param("v?", ["v1", "vx"], ["v", "v12"], id="one character"),
        pytest.param("v[12]", ["v1", "v2"], ["v3", "v12"], id="class"),
        pytest.param("v[0-3a]", ["v0", "v3", "va"], ["v4", "v-"], id="range in a class"),
        pytest.param("v[!1]", ["v2", "v-"], ["v1"], id="negated class"),
        pytest.param("v[^1]", ["v2"], ["v1"], id="negated class, other sign"),
        pytest.param("a[-x]", ["a-", "ax"], ["a+", "ab"], id="leading hyphen in a class"),
        pytest.param("a[x-]", ["a-", "ax"], ["ab"], id="trailing hyphen in a class"),
        pytest.param("a[.x]", ["a.", "ax"], ["ab"], id="dot in a class is a dot"),
        pytest.param("RC*", ["RC1"], ["rc1"], id="case matters"),
        pytest.param("**", ["a", "a.b"], [], id="two stars are one"),
    ],
)
def test_tag_glob_matches_the_whole_tag(text: str, taken: list[str], refused: list[str]) -> None:
    pattern = TagPattern.parse(text)

    assert pattern.literal is None
    assert [tag for tag in taken + refused if pattern.matches(Tag(tag))] == taken


@pytest.mark.parametrize(
    ("text", "taken", "refused"),
    [
        pytest.param(r"/\d+\.\d+/", ["1.25"], ["v1.25", "1.25.3"], id="whole tag"),
        pytest.param(r"/^\d+-alpine$/", ["3-alpine"], ["3-alpine3"], id="with its own anchors"),
        pytest.param("/a|b/", ["a", "b"], ["ab", "ac", "cb"], id="alternation is of whole tags"),
        pytest.param("/a|ab/", ["a", "ab"], ["b"], id="a shorter alternative does not win"),
        pytest.param("/(?i)rc/", ["rc", "RC"], [], id="flag"),
        pytest.param("/.*/", ["a", "1.2"], [], id="everything"),
        pytest.param("//", [], ["a"], id="the empty expression takes nothing"),
    ],
)
@pytest.mark.covers("E83")
def test_tag_expression_matches_the_whole_tag(text: str, taken: list[str], refused: list[str]) -> None:
    pattern = TagPattern.parse(text)

    assert pattern.literal is None
    assert [tag for tag in taken + refused if pattern.matches(Tag(tag))] == taken


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("/(a+)+$/", id="nested repetition"),
        pytest.param("/(a|aa)+b/", id="ambiguous alternation"),
        pytest.param("*".join("a" * 60) + "*b", id="glob of sixty stars"),
    ],
)
@pytest.mark.covers("E82")
def test_catastrophic_pattern_matches_in_linear_time(text: str) -> None:
    pattern = TagPattern.parse(text)
    started = time.monotonic()

    assert not pattern.matches(Tag("a" * 127 + "c"))
    assert time.monotonic() - started < 1  # a backtracking engine needs longer than the universe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("/(a/", "missing ): (a", id="unbalanced"),
        pytest.param("/a)/", "unexpected ): a)", id="unbalanced at the end"),
        pytest.param("/ab**/", "bad repetition operator: **, at character 4", id="repetition of a repetition"),
        pytest.param("/[z-a]/", "invalid character class range: z-a, at character 3", id="backwards range"),
        pytest.param("/x{2000}y{2000}/", "invalid repetition size: {2000}", id="ambiguous place is left out"),
        pytest.param("/((((a{99}){99}){99}){99})/", "invalid repetition size", id="too large"),
        pytest.param("/a\ud800/", "character 3 is no character of Unicode text", id="lone surrogate"),
    ],
)
@pytest.mark.covers("E82")
def test_invalid_expression_is_refused_with_what_is_wrong(
    text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TagPattern.parse(text)

    assert caught.value.code == "REGEX_INVALID"
    assert said in caught.value.message
    assert caught.value.remedy == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("/(?=a)b/", id="look-ahead"),
        pytest.param("/a(?!b)/", id="negative look-ahead"),
        pytest.param("/(?<=a)b/", id="look-behind"),
        pytest.param("/(?<!a)b/", id="negative look-behind"),
        pytest.param(r"/(a)\1/", id="back-reference by number"),
        pytest.param(r"/(?P<x>a)\k<x>/", id="back-reference by name"),
        pytest.param("/(?P<x>a)(?P=x)/", id="back-reference as Python writes it"),
    ],
)
@pytest.mark.covers("E82")
def test_expression_that_needs_exponential_time_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TagPattern.parse(text)

    assert caught.value.code == "REGEX_INVALID"
    assert "exponential time" in caught.value.remedy
    assert "exclude" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("a" * 1_001, "1001 characters", id="too long"),
        pytest.param("/" + "a" * 1_000_000 + "/", "1000002 characters", id="expression of a megabyte"),
        pytest.param("22:30", "is no tag", id="literal that is no tag"),
        pytest.param("-x", "is no tag", id="literal with a leading hyphen"),
        pytest.param("/abc", 'stands between "/" and "/"', id="expression without an end"),
        pytest.param("/", "is no tag", id="slash alone"),
        pytest.param("/a*", 'stands between "/" and "/"', id="glob that looks like an expression"),
        pytest.param("{a,b}*", 'character 1 ("{")', id="braces"),
        pytest.param("v1.*/x", 'character 5 ("/")', id="slash in a glob"),
        pytest.param("v[12", 'character 2 ("[") opens no class', id="class without an end"),
        pytest.param("v[]", 'character 2 ("[") opens no class', id="empty class"),
        pytest.param("v[2-1]", "2-1 runs backwards", id="backwards range"),
    ],
)
@pytest.mark.covers("E82", "E79")
def test_tag_pattern_that_can_match_no_tag_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TagPattern.parse(text)

    assert caught.value.code == "PATTERN_INVALID"
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "taken", "refused"),
    [
        pytest.param("*", ["a"], ["a/b"], id="one segment"),
        pytest.param("acme/*", ["acme/a", "acme/a-b"], ["acme", "acme/a/b", "acmee/a"], id="one segment below"),
        pytest.param("*/sandbox-*", ["acme/sandbox-x"], ["sandbox-x", "a/b/sandbox-x"], id="star in both segments"),
        pytest.param("**", ["a", "a/b", "a/b/c"], [], id="any depth"),
        pytest.param("a/**", ["a/b", "a/b/c"], ["a", "ab/c"], id="all below"),
        pytest.param("**/x", ["x", "a/x", "a/b/x"], ["xx", "a/yx"], id="at any depth"),
        pytest.param("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb"], id="any segments between"),
        pytest.param("a**z", ["az", "a/b/z"], ["b/az"], id="across within a segment"),
        pytest.param("a?c", ["abc"], ["a/c", "ac"], id="one character, no slash"),
        pytest.param("a.b/*", ["a.b/c"], ["axb/c"], id="dot is a dot"),
        pytest.param("acme/app", ["acme/app"], ["acme/apps", "x/acme/app"], id="literal"),
        pytest.param("/acme/(a|b)/", ["acme/a", "acme/b"], ["acme/ab", "acme/c"], id="expression"),
        pytest.param("/acme/", ["acme"], ["acme/a"], id="slashes around a name make an expression"),
    ],
)
def test_path_pattern_matches_the_whole_path(text: str, taken: list[str], refused: list[str]) -> None:
    pattern = PathPattern.parse(text)

    assert [path for path in taken + refused if pattern.matches(path)] == taken
    assert str(pattern) == text


@pytest.mark.parametrize(
    ("text", "prefix", "literal"),
    [
        pytest.param("acme/*", "acme/", False, id="namespace"),
        pytest.param("*", "", False, id="everything"),
        pytest.param("acme/team-*/app", "acme/", False, id="incomplete segment is left out"),
        pytest.param("a/b/**", "a/b/", False, id="two segments"),
        pytest.param("a?/b", "", False, id="wildcard in the first segment"),
        pytest.param("/acme/.*/", "", False, id="expression"),
        pytest.param("acme/app", "acme/", True, id="literal"),
        pytest.param("app", "", True, id="literal of one segment"),
    ],
)
def test_path_pattern_knows_its_literal_beginning(text: str, prefix: str, literal: bool) -> None:
    pattern = PathPattern.parse(text)

    assert (pattern.prefix, pattern.literal) == (prefix, literal)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        pytest.param("", "PATTERN_INVALID", "empty", id="empty"),
        pytest.param("*" * 1_001, "PATTERN_INVALID", "1001 characters", id="too long"),
        pytest.param("Acme/*", "PATTERN_INVALID", 'character 1 ("A")', id="upper case in a glob"),
        pytest.param("acme/*:x", "PATTERN_INVALID", 'character 7 (":")', id="tag in a glob"),
        pytest.param("acme//*", "PATTERN_INVALID", "empty path segment at character 6", id="empty segment"),
        pytest.param("/acme/*", "PATTERN_INVALID", "empty path segment at character 1", id="leading slash"),
        pytest.param("acme/*/", "PATTERN_INVALID", "empty path segment at character 8", id="trailing slash"),
        pytest.param("Acme/app", "PATTERN_INVALID", "is no repository name", id="literal in upper case"),
        pytest.param("/acme", "PATTERN_INVALID", 'stands between "/" and "/"', id="literal with a leading slash"),
        pytest.param("/(/", "REGEX_INVALID", "missing )", id="expression"),
    ],
)
def test_path_pattern_that_can_match_no_path_is_refused(text: str, code: str, said: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        PathPattern.parse(text)

    assert caught.value.code == code
    assert said in caught.value.message


@pytest.mark.parametrize("text", ["1.2*", "stable", r"/v\d/"])
def test_patterns_are_equal_by_text(text: str) -> None:
    assert TagPattern.parse(text) == TagPattern.parse(text)
    assert len({TagPattern.parse(text), TagPattern.parse(text)}) == 1
    assert repr(TagPattern.parse("1.2*")) == "TagPattern(text='1.2*')"
    assert PathPattern.parse("a/*") == PathPattern.parse("a/*")
    assert PathPattern.parse("a/*") != PathPattern.parse("b/*")


def test_pattern_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(TagPattern.parse("1.2*"))).matches(Tag("1.25"))
