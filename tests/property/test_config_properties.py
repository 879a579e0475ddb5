"""What holds for every configuration text."""

from __future__ import annotations

import io
from datetime import timedelta

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mirrord.config.effective import effective
from mirrord.config.interpolation import escape, interpolate
from mirrord.config.loader import Config, load_config
from mirrord.config.units import format_size, parse_duration, parse_size
from mirrord.errors import ConfigError
from mirrord.planning.duration import format_duration
from mirrord.planning.pattern import TagPattern
from mirrord.planning.rule import TagSelector
from mirrord.planning.tagsets import Meeting, TagSet, meeting

CANARY = "hunter2canary"
LINES = ("version: 1", "rules:", "registries:", "  - name: a", "    source: nginx", "    targets: [r.example/a]")
PIECES = (
    "\n",
    "\t",
    "  r.example:",
    "    password: ",
    "&a ",
    "*a",
    "<<: ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "!!x ",
    "|\n",
)
OTHERS = ("'", '"', "#", "${A}", "${", "$$", "x-", "---\n", "tags: {include: [1.20]}", "schedule: 5m", "é", "\x00", "~")
FRAGMENTS = st.sampled_from((*LINES, *PIECES, *OTHERS))


def load(text: str | bytes) -> Config:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return load_config("-", {"A": "1"}, stdin=io.BytesIO(content))


@given(st.one_of(st.lists(FRAGMENTS, max_size=30).map("".join), st.text(max_size=200), st.binary(max_size=200)))
@example("? \n")
@example("- - - -")
@example("&a *a")
@example("version: 1\nrules: &a [*a]")
def test_any_text_is_a_configuration_or_a_list_of_problems(text: str | bytes) -> None:
    try:
        load(text)
    except ConfigError as exc:
        problems = exc.problems
    else:
        return
    assert problems
    assert all(problem.code and problem.message for problem in problems)
    assert all((problem.line > 0) == (problem.column > 0) for problem in problems)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.just(CANARY), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.just(CANARY) | st.text(max_size=5), inner)),
    max_leaves=8,
)


@given(JSON)
def test_no_literal_in_the_place_of_a_secret_is_ever_shown(value: object) -> None:
    document = {"version": 1, "registries": {"r.example": {"username": "u", "password": value}}}

    said = ""
    try:
        load(yaml.safe_dump(document))
    except ConfigError as exc:
        said = str(exc) + repr(exc.problems)

    assert CANARY not in said


@given(st.text(max_size=50))
def test_escaped_text_survives_interpolation(text: str) -> None:
    assert interpolate(escape(text), {}) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500)))
def test_durations_survive_being_written(span: timedelta) -> None:
    rounded = timedelta(milliseconds=round(span / timedelta(milliseconds=1)))

    assert parse_duration(format_duration(rounded)) == rounded


@given(st.integers(min_value=0, max_value=2**40))
def test_sizes_survive_being_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


TAGS = st.text("ab1.-", min_size=1, max_size=4).filter(lambda text: text[0] not in ".-")
PATTERNS = st.one_of(
    TAGS,
    TAGS.map(lambda tag: f"{tag}*"),
    TAGS.map(lambda tag: f"*{tag}"),
    TAGS.map(lambda tag: f"?{tag}"),
    TAGS.map(lambda tag: f"/{tag}.*/"),
    st.just("*"),
)
SETS = st.builds(
    lambda include, exclude, pieces: TagSet(
        TagSelector(include=tuple(map(TagPattern.parse, include)), exclude=tuple(map(TagPattern.parse, exclude))),
        pieces,
    ),
    st.lists(PATTERNS, max_size=2),
    st.lists(PATTERNS, max_size=1),
    st.sampled_from([("", ""), ("a", ""), ("b-", ""), ("", "-a"), ("b-", "-a"), ("", "-", "")]),
)


@given(SETS, SETS, TAGS)
def test_sets_that_never_meet_have_no_tag_in_common(one: TagSet, other: TagSet, tag: str) -> None:
    if meeting(one, other) is Meeting.NEVER:
        assert not (one.takes(tag) and other.takes(tag))


@given(SETS, SETS)
def test_whether_sets_meet_does_not_depend_on_their_order(one: TagSet, other: TagSet) -> None:
    assert meeting(one, other) is meeting(other, one)


@given(
    st.lists(PATTERNS, max_size=3),
    st.one_of(st.none(), st.integers(min_value=1, max_value=100_000)),
    st.sampled_from(["15m", "0 3 * * MON", "@daily", None]),
    st.booleans(),
)
def test_the_effective_configuration_reads_back_the_same(
    include: list[str], newest: int | None, schedule: str | None, flag: bool
) -> None:
    rule = {
        "name": "a",
        "source": "nginx",
        "targets": ["r.example/{registry}/{repository}"],
        "tags": {"include": include, **({"newest": {"count": newest}} if newest else {})},
        "schedule": schedule,
        "overwrite": flag,
        "prune": flag,
    }
    config = load(yaml.safe_dump({"version": 1, "rules": [rule]}))

    again = load(yaml.safe_dump(effective(config)))

    assert again.rules == config.rules
    assert effective(again) == effective(config)
