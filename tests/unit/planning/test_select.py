"""Selection of tags and repositories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.planning.attachment import attachment_subject, cosign_tags, fallback_tag, is_attachment
from mirrord.planning.listing import TagEntry
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.rule import Newest, NewestBy, RepositorySelector, Rule, Source, TagSelector
from mirrord.planning.select import Selection, TagChoice, map_targets, name_candidates, select_repositories, select_tags
from mirrord.planning.semver import VersionRange
from mirrord.planning.target import TargetTemplate

NOW = datetime(2026, 1, 31, tzinfo=UTC)
HEX = "0123456789abcdef" * 4


def selector(
    include: str = "",
    semver: str = "",
    exclude: str = "",
    newest: tuple[int, NewestBy] | None = None,
    max_age: timedelta | None = None,
) -> TagSelector:
    return TagSelector(
        include=tuple(map(TagPattern.parse, include.split())),
        semver=VersionRange.parse(semver) if semver else None,
        exclude=tuple(map(TagPattern.parse, exclude.split())),
        newest=Newest(count=newest[0], by=newest[1]) if newest else None,
        max_age=max_age,
    )


def entry(name: str, days_old: float | None = None) -> TagEntry:
    created = None if days_old is None else NOW - timedelta(days=days_old)
    return TagEntry(tag=Tag(name), created=created)


def select(wanted: TagSelector, names: str) -> Selection:
    return select_tags(wanted, [entry(name) for name in names.split()], NOW)


def reasons(selection: Selection) -> dict[str, str]:
    return {choice.tag.name: choice.by for choice in selection.choices if not choice.taken}


def names(tags: tuple[Tag, ...]) -> list[str]:
    return [tag.name for tag in tags]


def test_select_tags_without_filters_takes_every_tag() -> None:
    selection = select(TagSelector(), "b a 1.0")

    assert selection.choices == tuple(TagChoice(Tag(name), True, "every tag is taken") for name in ("1.0", "a", "b"))
    assert selection.taken == (Tag("1.0"), Tag("a"), Tag("b"))
    assert selection.undated == ()


def test_select_tags_of_an_empty_listing_is_empty() -> None:
    assert select(selector("*", newest=(1, NewestBy.SEMVER)), "") == Selection(choices=())


@pytest.mark.parametrize(
    ("wanted", "choices"),
    [
        pytest.param(
            selector("1.2* stable"),
            {
                "1.25": (True, 'include "1.2*"'),
                "1.30": (False, "not in include or semver"),
                "stable": (True, 'include "stable"'),
            },
            id="include",
        ),
        pytest.param(
            selector(semver=">=1.25 <2"),
            {
                "1.25": (True, 'semver ">=1.25 <2"'),
                "1.25.1-rc.1": (False, "not in include or semver"),
                "2.0": (False, "not in include or semver"),
                "latest": (False, "not in include or semver"),
            },
            id="semver",
        ),
        pytest.param(
            selector("latest 1.25", semver="1.x"),
            {
                "1.25": (True, 'include "1.25"'),
                "1.26": (True, 'semver "1.x"'),
                "2": (False, "not in include or semver"),
                "latest": (True, 'include "latest"'),
            },
            id="include or semver",
        ),
        pytest.param(
            selector("1*", exclude="/perl/ *-rc*"),
            {
                "1": (True, 'include "1*"'),
                "1-rc1": (False, 'exclude "*-rc*"'),
                "2-rc1": (False, "not in include or semver"),
            },
            id="exclude after include",
        ),
        pytest.param(
            selector(exclude="latest"),
            {"1": (True, "every tag is taken"), "latest": (False, 'exclude "latest"')},
            id="exclude alone",
        ),
    ],
)
def test_select_tags_says_which_filter_took_or_refused(
    wanted: TagSelector, choices: dict[str, tuple[bool, str]]
) -> None:
    selection = select(wanted, " ".join(choices))

    assert {choice.tag.name: (choice.taken, choice.by) for choice in selection.choices} == choices


def test_newest_by_semver_keeps_the_highest_versions() -> None:
    wanted = selector(newest=(3, NewestBy.SEMVER))

    selection = select(wanted, "1.9 1.10 1.10.1-rc.1 1.10.1 0.1 latest")

    assert names(selection.taken) == ["1.10", "1.10.1", "1.10.1-rc.1"]
    assert reasons(selection) == {
        "0.1": "newest: 5th of 3 by semver",
        "1.9": "newest: 4th of 3 by semver",
        "latest": "newest: no version to compare by semver",
    }


def test_newest_by_semver_breaks_ties_by_name() -> None:
    selection = select(selector(newest=(2, NewestBy.SEMVER)), "v1.0.0 1.0 1.0.0 1")

    assert names(selection.taken) == ["1", "1.0"]


def test_newest_by_name_keeps_the_last_names() -> None:
    selection = select(selector(newest=(2, NewestBy.NAME)), "2024-01-01 2024-12-01 2025-02-01 2")

    assert names(selection.taken) == ["2024-12-01", "2025-02-01"]
    assert reasons(selection)["2"] == "newest: 4th of 2 by name"


def test_newest_counts_only_what_passed_the_other_filters() -> None:
    wanted = selector("1*", exclude="1.9", newest=(1, NewestBy.SEMVER))

    assert names(select(wanted, "1.7 1.8 1.9 2.0").taken) == ["1.8"]


@pytest.mark.parametrize(
    ("rank", "text"),
    [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (112, "112th")],
)
def test_newest_names_the_rank_of_a_tag_in_words(rank: int, text: str) -> None:
    tags = " ".join(f"1.{number}" for number in range(120))

    refused = reasons(select(selector(newest=(1, NewestBy.SEMVER)), tags))

    assert refused[f"1.{120 - rank}"] == f"newest: {text} of 1 by semver"


def test_newest_by_created_keeps_the_youngest_and_leaves_out_what_has_no_time() -> None:
    wanted = selector(exclude="x", newest=(2, NewestBy.CREATED))
    entries = [entry("old", 9), entry("b", 1), entry("a", 1), entry("c", 1), entry("none"), entry("x")]

    selection = select_tags(wanted, entries, NOW)

    assert names(selection.taken) == ["a", "b"]
    assert names(selection.undated) == ["none"]
    assert reasons(selection) == {
        "c": "newest: 3rd of 2 by created",
        "none": "its creation time is unknown",
        "old": "newest: 4th of 2 by created",
        "x": 'exclude "x"',
    }


@pytest.mark.parametrize(
    ("max_age", "said"),
    [
        pytest.param(timedelta(days=90), "older than 90d", id="days"),
        pytest.param(timedelta(hours=36), "older than 36h", id="hours"),
        pytest.param(timedelta(minutes=90), "older than 90m", id="minutes"),
        pytest.param(timedelta(seconds=61), "older than 61s", id="seconds"),
    ],
)
def test_max_age_leaves_out_what_is_older(max_age: timedelta, said: str) -> None:
    days = max_age / timedelta(days=1)
    entries = [
        entry("old", days * 1.01),
        entry("edge", days),
        entry("young", days / 2),
        entry("future", -1),
        entry("x"),
    ]

    selection = select_tags(selector(max_age=max_age), entries, NOW)

    assert names(selection.taken) == ["edge", "future", "young"]
    assert reasons(selection) == {"old": said, "x": "its creation time is unknown"}
    assert names(selection.undated) == ["x"]


def test_max_age_of_centuries_is_no_error() -> None:
    selection = select_tags(selector(max_age=timedelta(days=999_999)), [entry("a", 700_000)], NOW)

    assert names(selection.taken) == ["a"]


def test_max_age_is_applied_before_newest() -> None:
    wanted = selector(newest=(1, NewestBy.SEMVER), max_age=timedelta(days=10))

    selection = select_tags(wanted, [entry("3", 20), entry("2", 5), entry("1", 1)], NOW)

    assert names(selection.taken) == ["2"]
    assert reasons(selection) == {"1": "newest: 2nd of 1 by semver", "3": "older than 10d"}


def test_unknown_times_do_not_matter_where_no_filter_asks_for_them() -> None:
    selection = select(selector(newest=(5, NewestBy.SEMVER)), "1 2")

    assert names(selection.taken) == ["1", "2"]
    assert selection.undated == ()


def test_tag_that_a_listing_repeats_is_one_choice_with_the_latest_time() -> None:
    repeated = [entry("a", 20), entry("a"), entry("a", 1)]
    wanted = selector(max_age=timedelta(days=10))

    for entries in (repeated, repeated[::-1]):
        assert select_tags(wanted, entries, NOW).choices == (TagChoice(Tag("a"), True, "every tag is taken"),)


@pytest.mark.parametrize(
    "name", [f"sha256-{HEX}", f"sha256-{HEX}.sig", f"sha256-{HEX}.att", f"sha256-{HEX}.sbom"], ids=len
)
def test_attachment_is_recognised_with_its_subject(name: str) -> None:
    assert is_attachment(Tag(name))
    assert attachment_subject(Tag(name)) == Digest("sha256", HEX)


def test_attachment_of_a_sha512_digest_is_recognised_though_its_subject_is_cut() -> None:
    tag = Tag(f"sha512-{HEX}")

    assert is_attachment(tag)
    assert attachment_subject(tag) is None
    assert reasons(select(TagSelector(), tag.name)) == {tag.name: f"attachment of sha512:{HEX}..."}


@pytest.mark.parametrize("subject", [Digest("sha256", HEX), Digest("sha512", HEX * 2)], ids=["sha256", "sha512"])
def test_tags_made_for_a_subject_are_recognised_as_its_attachments(subject: Digest) -> None:
    fallback = f"{subject.algorithm}-{HEX}"

    assert fallback_tag(subject) == Tag(fallback)
    assert names(cosign_tags(subject)) == [f"{fallback}.sig", f"{fallback}.att", f"{fallback}.sbom"]
    assert all(map(is_attachment, (fallback_tag(subject), *cosign_tags(subject))))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("1.25", id="plain tag"),
        pytest.param(f"sha256-{HEX[:63]}", id="too short"),
        pytest.param(f"sha256-{HEX}0", id="too long"),
        pytest.param(f"sha256-{HEX.upper()}", id="upper case"),
        pytest.param(f"sha256-{HEX}.txt", id="other ending"),
        pytest.param(f"sha384-{HEX}", id="other algorithm"),
        pytest.param(f"sha256_{HEX}", id="other separator"),
    ],
)
def test_tag_of_another_form_is_no_attachment(name: str) -> None:
    assert not is_attachment(Tag(name))
    assert attachment_subject(Tag(name)) is None
    assert names(select(TagSelector(), name).taken) == [name]


@pytest.mark.parametrize(
    "wanted", [TagSelector(), selector("sha256-*"), selector("/.*/", semver="*"), selector(exclude="*.sig")]
)
def test_attachment_is_taken_by_no_filter(wanted: TagSelector) -> None:
    name = f"sha256-{HEX}.sig"

    assert reasons(select(wanted, name)) == {name: f"attachment of sha256:{HEX}"}


def test_attachment_that_an_include_names_literally_is_taken() -> None:
    name = f"sha256-{HEX}.sig"

    selection = select(selector(f"sha256-* {name}"), name)

    assert selection.choices == (TagChoice(Tag(name), True, f'include "{name}"'),)


def test_name_candidates_are_those_whose_times_matter() -> None:
    wanted = selector("1*", exclude="*-rc*", newest=(1, NewestBy.CREATED), max_age=timedelta(days=1))
    listed = [Tag(name) for name in ("1.2", "1.1", "1.2-rc1", "2.0", "1.2", f"sha256-{HEX}")]

    assert names(name_candidates(wanted, iter(listed))) == ["1.1", "1.2"]


def repositories(*paths: str) -> list[Repository]:
    return [Repository("ghcr.io", path) for path in paths]


@pytest.mark.parametrize(
    ("pattern", "include", "exclude", "expected"),
    [
        pytest.param("acme/*", [], [], ["acme/app", "acme/sandbox-x"], id="pattern"),
        pytest.param("**", [], ["*/sandbox-*"], ["acme/app", "acme/team/app", "other/app"], id="exclude"),
        pytest.param("**", ["*/app", "other/*"], [], ["acme/app", "other/app"], id="include"),
        pytest.param("acme/**", ["**/app"], ["acme/*/*"], ["acme/app"], id="all three"),
        pytest.param("none/*", [], [], [], id="nothing"),
    ],
)
def test_select_repositories_by_path(pattern: str, include: list[str], exclude: list[str], expected: list[str]) -> None:
    wanted = RepositorySelector(
        host="ghcr.io",
        pattern=PathPattern.parse(pattern),
        include=tuple(map(PathPattern.parse, include)),
        exclude=tuple(map(PathPattern.parse, exclude)),
    )
    listed = repositories("other/app", "acme/sandbox-x", "acme/app", "acme/team/app", "acme/app")

    selected = select_repositories(wanted, iter([*listed, Repository("quay.io", "acme/app")]))

    assert selected == tuple(repositories(*expected))


def rule(*targets: str) -> Rule:
    location = Repository("ghcr.io", "acme/app")
    return Rule(name="r", source=Source(location=location), targets=tuple(map(TargetTemplate.parse, targets)))


def test_map_targets_gives_one_location_for_each_target_in_order() -> None:
    wanted = rule("b.example/{name}", "oci:./x/{repository}", "a.example/fixed")

    locations = map_targets(wanted, Repository("ghcr.io", "acme/app"))

    assert locations == (
        Repository("b.example", "app"),
        LayoutDirectory("./x/acme/app"),
        Repository("a.example", "fixed"),
    )


@pytest.mark.covers("E97")
def test_map_targets_refuses_an_invalid_result() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        map_targets(rule("b.example/{namespace}"), Repository("ghcr.io", "app"))

    assert caught.value.code == "TEMPLATE_RESULT_INVALID"
