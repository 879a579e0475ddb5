"""Properties of patterns, version ranges, target templates and selection."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirrord.errors import InvalidReferenceError, MirrordError
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.attachment import is_attachment
from mirrord.planning.listing import ListingTraits, TagEntry
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.rule import Newest, NewestBy, RepositorySelector, TagSelector
from mirrord.planning.select import name_candidates, select_repositories, select_tags
from mirrord.planning.semver import Version, VersionRange
from mirrord.planning.survey import Survey, choose_survey
from mirrord.planning.target import IN_TAG, TargetTemplate

NOW = datetime(2026, 1, 31, tzinfo=UTC)

tag_texts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
version_texts = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "v"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=3).map(lambda numbers: ".".join(map(str, numbers))),
    st.sampled_from(["", "", "-rc.1", "-rc.2", "-alpine"]),
)
attachment_texts = st.sampled_from(["sha256-" + "0" * 64, "sha256-" + "1" * 64 + ".sig", "sha512-" + "2" * 64])
tags = st.one_of(tag_texts, version_texts, attachment_texts, st.sampled_from(["latest", "stable"])).map(Tag)
entries = st.builds(
    lambda tag, age: TagEntry(tag=tag, created=None if age is None else NOW - timedelta(days=age)),
    tags,
    st.none() | st.integers(-2, 200),
)

globs = st.text(alphabet="v0123.-rc*?", min_size=1, max_size=6).filter(lambda text: "*" in text or "?" in text)
patterns = st.one_of(tags.map(str), globs, st.sampled_from(["/.*/", r"/v?\d+/", "*", "[0-9]*"])).map(TagPattern.parse)
comparators = st.builds("{}{}".format, st.sampled_from(["", "=", ">=", "<=", ">", "<", "^", "~", "!="]), version_texts)
ranges = st.lists(comparators, min_size=1, max_size=3).map(" ".join).map(VersionRange.parse)
selectors = st.builds(
    TagSelector,
    include=st.lists(patterns, max_size=3).map(tuple),
    semver=st.none() | ranges,
    exclude=st.lists(patterns, max_size=2).map(tuple),
    newest=st.none() | st.builds(Newest, count=st.integers(1, 5), by=st.sampled_from(NewestBy)),
    max_age=st.none() | st.integers(0, 200).map(lambda days: timedelta(days=days)),
)

paths = st.from_regex(
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}){0,3}", fullmatch=True
).filter(lambda path: len(path) < 200)
hosts = st.sampled_from(["docker.io", "registry.internal:5000", "[::1]:5000", "localhost"])
sources: st.SearchStrategy[Location] = st.one_of(
    st.builds(Repository, hosts, paths),
    st.text(alphabet=string.printable, min_size=1, max_size=20).map(LayoutDirectory),
)


@given(selectors, st.lists(entries, max_size=20), st.randoms(use_true_random=False))
def test_selection_does_not_depend_on_the_order_of_the_listing(
    selector: TagSelector, listed: list[TagEntry], random: Random
) -> None:
    shuffled = listed.copy()
    random.shuffle(shuffled)

    assert select_tags(selector, listed, NOW) == select_tags(selector, shuffled, NOW)


@given(selectors, st.lists(entries, max_size=20))
def test_every_taken_tag_passed_include_or_semver_and_no_exclude(selector: TagSelector, listed: list[TagEntry]) -> None:
    for tag in select_tags(selector, listed, NOW).taken:
        included = any(pattern.matches(tag) for pattern in selector.include)
        version = Version.parse(tag.name)
        in_range = selector.semver is not None and version is not None and selector.semver.matches(version)

        assert included or in_range or (not selector.include and selector.semver is None)
        assert not any(pattern.matches(tag) for pattern in selector.exclude)
        assert not is_attachment(tag) or any(pattern.literal == tag for pattern in selector.include)


@given(selectors, st.lists(entries, max_size=20))
def test_every_listed_tag_gets_one_choice_with_a_reason(selector: TagSelector, listed: list[TagEntry]) -> None:
    selection = select_tags(selector, listed, NOW)

    assert [choice.tag for choice in selection.choices] == sorted({entry.tag for entry in listed})
    assert all(choice.by for choice in selection.choices)


@given(selectors, st.lists(entries, max_size=20))
def test_taken_and_undated_tags_are_name_candidates(selector: TagSelector, listed: list[TagEntry]) -> None:
    selection = select_tags(selector, listed, NOW)
    candidates = set(name_candidates(selector, [entry.tag for entry in listed]))

    assert candidates >= {*selection.taken, *selection.undated}
    assert not {*selection.taken} & {*selection.undated}
    assert selector.newest is None or len(selection.taken) <= selector.newest.count


@given(st.lists(st.builds(Repository, hosts, paths), max_size=10), paths, st.randoms(use_true_random=False))
def test_selected_repositories_are_sorted_once_each_and_begin_with_the_prefix(
    listed: list[Repository], path: str, random: Random
) -> None:
    pattern = PathPattern.parse(f"{path.partition('/')[0]}/**")
    selector = RepositorySelector(host="docker.io", pattern=pattern)
    listed = [*listed, Repository("docker.io", f"{path.partition('/')[0]}/{path}")]
    shuffled = listed * 2
    random.shuffle(shuffled)

    selected = select_repositories(selector, shuffled)

    assert selected == select_repositories(selector, listed) == tuple(sorted(set(selected)))
    assert selected
    assert all(repository.path.startswith(pattern.prefix) for repository in selected)


@given(tag_texts)
def test_tag_as_a_pattern_means_itself(text: str) -> None:
    pattern = TagPattern.parse(text)

    assert pattern.literal == Tag(text)
    assert pattern.matches(Tag(text))


@given(tag_texts, tag_texts)
def test_tag_between_stars_matches_exactly_where_it_occurs(text: str, other: str) -> None:
    pattern = TagPattern.parse(f"*{text}*")

    assert pattern.matches(Tag(text))
    assert pattern.matches(Tag(other)) == (text in other)


@given(tag_texts)
def test_tag_as_a_class_of_characters_matches_each_of_them(text: str) -> None:
    pattern = TagPattern.parse(f"[{text.replace('-', '')}_]")

    assert all(pattern.matches(Tag(character)) for character in text if character not in "-.")


@given(paths)
def test_path_as_a_pattern_means_itself(path: str) -> None:
    assert PathPattern.parse(path).matches(path)
    assert PathPattern.parse(f"{path}*").matches(path)
    assert PathPattern.parse("**").matches(path)
    assert PathPattern.parse(f"**/{path}").matches(path)
    assert PathPattern.parse("/".join("*" for _ in path.split("/"))).matches(path)


@pytest.mark.covers("E82")
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("/*?[]()|+\\{}^$!-.ab")), max_size=40))
def test_text_is_a_pattern_or_refused(text: str) -> None:
    for parse in (TagPattern.parse, PathPattern.parse):
        for candidate in (text, f"/{text}/"):
            try:
                assert str(parse(candidate)) == candidate
            except InvalidReferenceError as exc:
                assert exc.code in {"PATTERN_INVALID", "REGEX_INVALID"}  # noqa: PT017 - both outcomes are right


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("0123456789.xX*-v<>=!^~|, rc")), max_size=40))
def test_text_is_a_version_range_or_refused(text: str) -> None:
    try:
        assert VersionRange.parse(text).text == text
    except InvalidReferenceError as exc:
        assert exc.code == "SEMVER_INVALID"  # noqa: PT017 - both outcomes are right


@given(st.text(max_size=140))
def test_text_is_a_version_or_not(text: str) -> None:
    version = Version.parse(text)

    assert version is None or Version.parse(str(version)) == version


@given(version_texts, version_texts, version_texts)
def test_versions_are_totally_ordered(first: str, second: str, third: str) -> None:
    a, b, c = (Version.parse(text) for text in (first, second, third))
    assume(a is not None and b is not None and c is not None)
    assert a is not None
    assert b is not None
    assert c is not None

    assert [a < b, a == b, a > b].count(True) == 1
    assert not (a <= b <= c) or a <= c
    assert a != b or hash(a) == hash(b)


@given(version_texts, version_texts)
def test_comparators_agree_with_the_order_of_versions(low: str, candidate: str) -> None:
    bound, version = Version.parse(low), Version.parse(candidate)
    assume(bound is not None and version is not None)
    assert bound is not None
    assert version is not None
    assume(not version.prerelease or (version.release == bound.release and bound.prerelease))

    assert VersionRange.parse(f">={bound}").matches(version) == (version >= bound)
    assert VersionRange.parse(f">{bound}").matches(version) == (version > bound)
    assert VersionRange.parse(f"<={bound}").matches(version) == (version <= bound)
    assert VersionRange.parse(f"<{bound}").matches(version) == (version < bound)
    assert VersionRange.parse(f"={bound}").matches(version) == (version == bound)
    assert VersionRange.parse(f"!={bound}").matches(version) == (version != bound and not version.prerelease)


template_texts = st.lists(
    st.one_of(
        st.sampled_from(
            [*IN_TAG, "eu.example/", "oci:", "/", ":", "@", "{", "}", "{0}", "{a.b}", "sha256:", "..", "x"]
        ),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)


@pytest.mark.covers("E96", "E97")
@given(template_texts, sources, st.none() | tags)
def test_text_is_a_template_or_refused_and_so_is_what_it_gives(text: str, source: Location, tag: Tag | None) -> None:
    try:
        template = TargetTemplate.parse(text)
        location = template.location(source)
        result = template.tag(tag, source)
    except MirrordError:
        return

    assert location.host == template.host or isinstance(location, LayoutDirectory)
    assert not isinstance(location, Repository) or Repository.parse(str(location)) == location
    assert result is None or Tag.parse(result.name) == result


@given(paths, hosts)
def test_template_of_registry_and_repository_tells_all_sources_apart(path: str, host: str) -> None:
    template = TargetTemplate.parse("eu.example/m/{registry}/{repository}")
    other = Repository("other.example", path)

    location = template.location(Repository(host, path))

    assert str(location).endswith(f"/{path}")
    assert template.location(other) != location


@given(selectors, st.integers(0, 50), st.integers(-1, 2_000), st.none() | st.integers(0, 10_000), st.booleans())
def test_survey_lists_whenever_a_pattern_needs_it(
    selector: TagSelector, count: int, page_size: int, known: int | None, has_digests: bool
) -> None:
    survey = choose_survey(selector, count, ListingTraits(page_size=page_size, has_digests=has_digests), known)

    assert survey is Survey.LIST or selector.literal_tags is not None
