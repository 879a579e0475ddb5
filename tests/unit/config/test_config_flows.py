"""Rules together: circles, and targets that two images would meet on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mirrord.config.loader import Config
from mirrord.errors import ConfigError, ConfigProblem

Load = Callable[..., Config]
Found = list[tuple[str, str]]


def rules(*lines: str) -> str:
    named = (f"  - {{name: r{number}, {line}}}" for number, line in enumerate(lines))
    return "version: 1\nrules:\n" + "\n".join(named) + "\n"


def found(load: Load, text: str) -> tuple[list[ConfigProblem], list[ConfigProblem]]:
    """Return errors and warnings."""
    try:
        return [], list(load(text).warnings)
    except ConfigError as exc:
        return list(exc.problems), []


LOOPS = [
    pytest.param(("source: nginx, targets: [docker.io/library/nginx]",), "r0", id="same repository"),
    pytest.param(("source: 'nginx:1', targets: [nginx]",), "r0", id="same tag"),
    pytest.param(("source: 'nginx:1', targets: ['nginx:1']",), "r0", id="same tag written out"),
    pytest.param((f"source: 'nginx@sha256:{'0' * 64}', targets: [nginx]",), "r0", id="same digest"),
    pytest.param(("source: nginx, targets: ['nginx:backup-{tag}']",), "r0", id="into its own tags"),
    pytest.param(("source: nginx, targets: ['nginx:{tag}-b'], tags: {include: ['1*']}",), "r0", id="own glob"),
    pytest.param(("source: nginx, targets: [nginx], tags: {include: ['/^zz/']}",), "r0", id="own expression"),
    pytest.param(("source: nginx, targets: [nginx], tags: {semver: '>=77'}",), "r0", id="own versions"),
    pytest.param(("source: 'r.example/**', targets: ['r.example/{repository}']",), "r0", id="own registry"),
    pytest.param(("source: 'r.example/**', targets: ['r.example/mirror/{repository}']",), "r0", id="ever deeper"),
    pytest.param(("source: 'oci:./a', targets: ['oci:./a']",), "r0", id="own directory"),
    pytest.param(
        ("source: a.example/x, targets: [b.example/x]", "source: b.example/x, targets: [a.example/x]"),
        "r0 -> r1 -> r0",
        id="there and back",
    ),
    pytest.param(
        (
            "source: a.example/x, targets: [t.example/t, b.example/x]",
            "source: c.example/x, targets: [a.example/x], tags: {include: [v1, 'w*']}",
            "source: 'b.example/*', targets: ['c.example/{name}'], tags: {semver: '>=1', include: ['w*']}",
        ),
        "r0 -> r2 -> r1 -> r0",
        id="over three",
    ),
    pytest.param(
        (
            "source: a.example/x, targets: [b.example/x], tags: {include: ['/^v[0-9]+$/']}",
            "source: b.example/x, targets: [a.example/x], tags: {include: ['/^v[0-9]+$/']}",
        ),
        "r0 -> r1 -> r0",
        id="same expression",
    ),
]

NO_LOOPS = [
    pytest.param(("source: 'nginx:1', targets: ['nginx:prod']",), id="promotion of a tag"),
    pytest.param((f"source: 'nginx@sha256:{'0' * 64}', targets: ['nginx:prod']",), id="tag for a digest"),
    pytest.param(("source: nginx, targets: ['nginx:b-{tag}'], tags: {include: ['v*']}",), id="other words"),
    pytest.param(("source: nginx, targets: ['nginx:b-{tag}'], tags: {include: [v1, v2]}",), id="other literals"),
    pytest.param(("source: 'r.example/app/*', targets: ['r.example/mirror/{name}']",), id="other path"),
    pytest.param(("source: 'r.example/*', targets: ['r.example/m/{name}']",), id="deeper than the pattern"),
    pytest.param(
        (
            "source: a.example/x, targets: [b.example/x], tags: {include: ['v*']}",
            "source: b.example/x, targets: [a.example/x], tags: {include: ['w*']}",
        ),
        id="both ways, other tags",
    ),
    pytest.param(
        (
            "source: 'a.example/x:1', targets: [b.example/x]",
            "source: 'b.example/x:2', targets: [a.example/x]",
        ),
        id="both ways, other literals",
    ),
    pytest.param(
        ("source: a.example/x, targets: [b.example/x]", "source: b.example/x, targets: [c.example/x]"), id="a chain"
    ),
    pytest.param(
        ("source: 'r.example/**', targets: ['r.example/mirror/{repository}'], repositories: {exclude: ['mirror/**']}",),
        id="itself left out",
    ),
]


@pytest.mark.covers("E84")
@pytest.mark.parametrize(("lines", "chain"), LOOPS)
def test_rules_that_feed_themselves_are_refused(load: Load, lines: tuple[str, ...], chain: str) -> None:
    problems, _ = found(load, rules(*lines))

    (loop,) = (problem for problem in problems if problem.code == "RULE_LOOP")
    assert loop.key.startswith("rules[0].targets[")
    assert chain in loop.message if "->" in chain else "writes where it reads" in loop.message


@pytest.mark.covers("E84")
@pytest.mark.parametrize("lines", NO_LOOPS)
def test_rules_that_do_not_feed_themselves_are_allowed(load: Load, lines: tuple[str, ...]) -> None:
    problems, _ = found(load, rules(*lines))

    assert problems == []


CONFLICTS = [
    pytest.param("", "", id="all tags"),
    pytest.param("tags: {include: [v1, v2]}", "tags: {include: [v2, v3]}", id="a literal"),
    pytest.param("tags: {include: [v1]}", "", id="a literal among all"),
    pytest.param("tags: {include: ['v*']}", "tags: {include: [v1]}", id="a literal in a glob"),
    pytest.param("tags: {include: ['/^v.*/']}", "tags: {include: [v1]}", id="a literal in an expression"),
    pytest.param("tags: {semver: '>=1'}", "tags: {include: ['1.5']}", id="a literal in a range"),
    pytest.param("tags: {include: ['v*']}", "tags: {include: ['v1*']}", id="a glob in a glob"),
    pytest.param("tags: {include: ['1.*']}", "tags: {include: ['*-alpine']}", id="crossing globs"),
    pytest.param("tags: {include: ['/zz/']}", "", id="an expression among all"),
    pytest.param("tags: {include: ['/zz/']}", "tags: {include: ['/zz/']}", id="the same expression"),
    pytest.param("tags: {semver: '>=77'}", "tags: {semver: '>=77'}", id="the same range"),
    pytest.param("tags: {newest: {count: 3}}", "tags: {exclude: ['*-rc*']}", id="all but a few"),
]
DISJOINT = [
    pytest.param("tags: {include: [v1]}", "tags: {include: [v2]}", id="literals"),
    pytest.param("tags: {include: ['v*']}", "tags: {include: ['w*']}", id="globs"),
    pytest.param("tags: {include: ['*-a']}", "tags: {include: ['*-b']}", id="globs by their end"),
    pytest.param("tags: {include: ['v*'], exclude: [v1]}", "tags: {include: [v1]}", id="a literal left out"),
    pytest.param("tags: {include: [v1, v2], exclude: [v1]}", "tags: {include: [v1]}", id="a literal taken back"),
    pytest.param("tags: {exclude: ['*-alpine']}", "tags: {include: ['*-alpine']}", id="a glob left out"),
    pytest.param("tags: {exclude: ['/x/']}", "tags: {include: ['/x/']}", id="an expression left out"),
    pytest.param("tags: {include: ['/^v/']}", "tags: {include: [w1]}", id="a literal not in an expression"),
]
UNDECIDED = [
    pytest.param("tags: {include: ['/^a.*z$/']}", "tags: {include: ['/^a.*y$/']}", id="expressions"),
    pytest.param("tags: {include: ['/^zz/']}", "tags: {include: ['*y']}", id="an expression and a glob"),
    pytest.param("tags: {include: ['q?']}", "tags: {include: ['qq[ab]']}", id="globs with one character"),
    pytest.param("tags: {semver: '>=70 <71'}", "tags: {semver: '>=80'}", id="ranges"),
    pytest.param(
        "tags: {include: ['*-a'], exclude: ['*a']}", "tags: {include: ['*-a'], exclude: ['z*']}", id="excludes"
    ),
]


def two(one: str, other: str) -> str:
    return rules(*(f"source: {name}, targets: [t.example/t], {rest}" for name, rest in (("a", one), ("b", other))))


@pytest.mark.covers("E85")
@pytest.mark.parametrize(("one", "other"), CONFLICTS)
def test_two_rules_that_write_one_tag_are_refused(load: Load, one: str, other: str) -> None:
    for text in (two(one, other), two(other, one)):
        (conflict,), _ = found(load, text)
        assert (conflict.code, conflict.key) == ("RULE_CONFLICT", "rules[1].targets[0]")
        assert 'the rule "r0" writes a tag that this target writes too' in conflict.message


@pytest.mark.covers("E85")
@pytest.mark.parametrize(("one", "other"), DISJOINT)
def test_two_rules_that_write_other_tags_are_allowed(load: Load, one: str, other: str) -> None:
    assert found(load, two(one, other)) == ([], [])
    assert found(load, two(other, one)) == ([], [])


@pytest.mark.covers("E85")
@pytest.mark.parametrize(("one", "other"), UNDECIDED)
def test_where_it_cannot_be_told_a_conflict_is_a_warning(load: Load, one: str, other: str) -> None:
    problems, (warning,) = found(load, two(one, other))

    assert problems == []
    assert (warning.code, warning.key) == ("RULE_CONFLICT", "rules[1].targets[0]")
    assert "may write" in warning.message


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(
            ("source: a, targets: ['t.example/t:a-{tag}']", "source: b, targets: ['t.example/t:b-{tag}']"),
            id="templates",
        ),
        pytest.param(
            ("source: a, targets: ['t.example/t:{name}-{tag}']", "source: b, targets: ['t.example/t:{name}-{tag}']"),
            id="names in templates",
        ),
        pytest.param(
            ("source: a, targets: ['t.example/t:{tag}-{tag}']", "source: 'b:1-2', targets: ['t.example/t']"),
            id="repeated",
        ),
        pytest.param(
            ("source: 'a:1', targets: ['t.example/t']", "source: 'b:2', targets: ['t.example/t']"), id="one tag"
        ),
        pytest.param(
            (f"source: 'a@sha256:{'0' * 64}', targets: ['t.example/t']", "source: b, targets: ['t.example/t']"),
            id="digest",
        ),
        pytest.param(
            ("source: a, targets: [t.example/t]", "source: a, targets: [t.example/t], schedule: 5m"), id="source"
        ),
        pytest.param(
            (
                "source: 'a.example/*', targets: ['t.example/{registry}/{name}']",
                "source: 'b.example/*', targets: ['t.example/{registry}/{name}']",
            ),
            id="registries in templates",
        ),
    ],
)
def test_targets_that_never_meet_are_allowed(load: Load, lines: tuple[str, ...]) -> None:
    assert found(load, rules(*lines)) == ([], [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("source: a, targets: ['t.example/t:x']", "several tags would be written", id="tags to one"),
        pytest.param(
            "source: a, targets: ['t.example/t:x'], tags: {include: [v1, v2]}", "several tags", id="literals to one"
        ),
        pytest.param("source: 'a.example/*', targets: [t.example/t]", "every repository of", id="repositories to one"),
        pytest.param("source: 'a.example/*/app', targets: ['t.example/{name}']", "every repository of", id="same name"),
        pytest.param(
            "source: a, targets: [t.example/t, 't.example/t:{tag}']", "targets[0] of the same", id="own target"
        ),
    ],
)
def test_a_rule_that_collides_with_itself_is_refused(load: Load, line: str, said: str) -> None:
    problems, _ = found(load, rules(line))

    assert [problem.code for problem in problems] == ["RULE_CONFLICT"]
    assert said in problems[0].message


def test_a_repeated_tag_meets_what_it_can_become(load: Load) -> None:
    text = rules("source: a, targets: ['t.example/t:{tag}-{tag}']", "source: 'b:1-1', targets: ['t.example/t']")

    assert [problem.code for problem in found(load, text)[0]] == ["RULE_CONFLICT"]


def test_a_chain_that_no_valid_repository_continues_is_no_circle(load: Load) -> None:
    name = "a" * 200

    problems, _ = found(
        load,
        rules(
            f"source: a.example/x, targets: [b.example/{name}]",
            "source: 'b.example/*', targets: ['a.example/{name}/{name}']",
        ),
    )

    assert problems == []


def test_a_digest_is_written_nowhere_but_onto_itself(load: Load) -> None:
    problems, _ = found(
        load,
        rules(
            "source: b.example/x, targets: [a.example/x]",
            f"source: 'a.example/x@sha256:{'0' * 64}', targets: [b.example/x]",
        ),
    )

    assert problems == []


def test_many_rules_may_prune_the_targets_that_are_theirs(load: Load) -> None:
    assert found(load, rules("source: a, targets: [t.example/t, t.example/u], prune: true")) == ([], [])


def test_one_literal_tag_may_get_another_name(load: Load) -> None:
    assert found(load, rules("source: a, targets: ['t.example/t:x'], tags: {include: [v1]}")) == ([], [])


def test_patterns_that_may_name_one_repository_are_a_warning(load: Load) -> None:
    problems, (warning,) = found(
        load, rules(*(f"source: '{host}.example/*', targets: ['t.example/{{repository}}']" for host in "ab"))
    )

    assert problems == []
    assert (warning.code, warning.line) == ("RULE_CONFLICT", 4)


def test_one_source_under_two_platform_filters_is_a_conflict(load: Load) -> None:
    problems, _ = found(
        load,
        rules(*(f"source: a, targets: [t.example/t], platforms: [linux/{arch}]" for arch in ("amd64", "arm64"))),
    )

    assert [problem.code for problem in problems] == ["RULE_CONFLICT"]


@pytest.mark.covers("E86")
def test_two_rules_that_prune_one_repository_are_refused(load: Load) -> None:
    problems, _ = found(
        load,
        rules(*(f"source: {n}, targets: [t.example/t], prune: {{}}, tags: {{include: [{n}]}}" for n in ("a", "b"))),
    )

    assert [(problem.code, problem.line) for problem in problems] == [("PRUNE_CONFLICT", 4)]


@pytest.mark.covers("E97")
def test_a_template_that_gives_no_valid_repository_is_refused(load: Load) -> None:
    long = "/".join(["a" * 60] * 4)

    problems, _ = found(
        load, rules(f"source: s.example/{long}, targets: ['t.example/x/{{repository}}/{{repository}}']")
    )

    assert [(problem.code, problem.key) for problem in problems] == [("TEMPLATE_RESULT_INVALID", "rules[0].targets[0]")]


def test_many_conflicts_on_one_repository_are_cut(load: Load) -> None:
    problems, _ = found(load, rules(*(f"source: s{n}, targets: [t.example/t]" for n in range(100))))

    assert len(problems) == 20


@pytest.mark.covers("E105")
def test_three_thousand_rules_load_in_seconds(load: Load) -> None:
    text = rules(
        *(
            f"source: 'docker.io/library/app{n}', targets: [t.example/app{n}], "
            f"tags: {{include: ['1.2*', latest], exclude: ['*-rc*']}}"
            for n in range(3000)
        )
    )
    begun = time.process_time()

    config = load(text)

    assert len(config.rules) == 3000
    assert time.process_time() - begun < 10
