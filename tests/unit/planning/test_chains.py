from __future__ import annotations

from dataclasses import replace

import pytest

from mirrord.oci.reference import Reference
from mirrord.planning.chains import Chains, chain_rules
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.rule import RepositorySelector, Rule, Source, TagSelector
from mirrord.planning.target import TargetTemplate
from tests.fakes.images import digest_of


def rule(name: str, source: str, *targets: str, tags: str = "") -> Rule:
    """Return a rule as a file would have it; ``tags`` are patterns between blanks."""
    if "*" in source:
        host, _, path = source.partition("/")
        read = Source(repositories=RepositorySelector(host=host, pattern=PathPattern.parse(path)))
    else:
        reference = Reference.parse(source)
        read = Source(location=reference.location, tag=reference.tag, digest=reference.digest)
    include = tuple(map(TagPattern.parse, tags.split()))
    return Rule(
        name=name, source=read, targets=tuple(map(TargetTemplate.parse, targets)), tags=TagSelector(include=include)
    )


def waits(chains: Chains) -> dict[str, set[str]]:
    """Return who waits for whom, without those who wait for nobody."""
    return {name: set(others) for name, others in chains.before.items() if others}


def test_rule_waits_for_the_one_that_writes_its_source() -> None:
    """The second rule of a chain begins after the first, wherever they stand in the file."""
    chains = chain_rules([rule("out", "a.test/x", "b.test/x"), rule("in", "hub.test/x", "a.test/x")])

    assert waits(chains) == {"out": {"in"}}
    assert chains.depth == {"in": 0, "out": 1}
    assert chains.cut == {}


@pytest.mark.parametrize(
    ("first", "second", "is_chain"),
    [
        pytest.param(rule("1", "s.test/a", "t.test/a"), rule("2", "t.test/b", "u.test/b"), False, id="elsewhere"),
        pytest.param(rule("1", "s.test/a", "t.test/a:x"), rule("2", "t.test/a:x", "u.test/b"), True, id="one-tag"),
        pytest.param(rule("1", "s.test/a", "t.test/a:x"), rule("2", "t.test/a:y", "u.test/b"), False, id="other-tag"),
        pytest.param(
            rule("1", "s.test/a", "t.test/a", tags="1.*"),
            rule("2", "t.test/a", "u.test/b", tags="2.*"),
            False,
            id="other-tags",
        ),
        pytest.param(
            rule("1", "s.test/a", "t.test/a", tags="/1.+/"),
            rule("2", "t.test/a", "u.test/b", tags="/.+1/"),
            True,
            id="perhaps-the-same-tags",
        ),
        pytest.param(rule("1", "s.test/a", "t.test/n/a"), rule("2", "t.test/n/*", "u.test/b"), True, id="pattern"),
        pytest.param(rule("1", "s.test/a", "t.test/m/a"), rule("2", "t.test/n/*", "u.test/b"), False, id="no-match"),
        pytest.param(
            rule("1", "s.test/n/*", "t.test/m/{repository}"), rule("2", "t.test/m/n/a", "u.test/b"), True, id="template"
        ),
        pytest.param(
            rule("1", "s.test/n/*", "t.test/m/{repository}"), rule("2", "t.test/m/o/a", "u.test/b"), False, id="beside"
        ),
        pytest.param(
            rule("1", "s.test/**", "t.test/m/{repository}"), rule("2", "t.test/m/**", "u.test/{name}"), True, id="both"
        ),
        pytest.param(
            rule("1", "s.test/**", "t.test/m/{repository}"),
            rule("2", "t.test/n/**", "u.test/{name}"),
            False,
            id="both-elsewhere",
        ),
        pytest.param(
            rule("1", "s.test/**", "t.test/all:{name}-{tag}"), rule("2", "t.test/all:z", "u.test/b"), True, id="by-name"
        ),
        pytest.param(rule("1", "s.test/a", "oci:./out/x"), rule("2", "oci:out/x", "u.test/a"), True, id="layout"),
        pytest.param(rule("1", "s.test/*", "oci:out/{name}"), rule("2", "oci:out/x", "u.test/a"), True, id="layouts"),
        pytest.param(rule("1", "s.test/*", "oci:out/{name}"), rule("2", "oci:in/x", "u.test/a"), False, id="apart"),
        pytest.param(
            rule("1", "oci:Out", "t.test/{name}"), rule("2", "u.test/x", "u.test/a"), False, id="impossible-target"
        ),
        pytest.param(
            rule("1", "s.test//a.*/", "t.test/m/{name}"), rule("2", "t.test/m/a", "u.test/b"), True, id="expression"
        ),
        pytest.param(
            rule("1", "s.test/*", "t.test/x_{namespace}"),
            rule("2", "t.test/y", "u.test/a"),
            True,
            id="impossible-sample",
        ),
        pytest.param(
            rule("1", "s.test/a", "t.test/a:{tag}-" + "y" * 120, tags="z short-enough-to-be-a-tag"),
            rule("2", "t.test/a", "u.test/a"),
            True,
            id="impossible-tag",
        ),
    ],
)
def test_chain_is_told_from_the_rules_alone(first: Rule, second: Rule, is_chain: bool) -> None:
    """Whoever may read what another one writes waits for it, and nobody else."""
    assert waits(chain_rules([second, first])) == ({"2": {"1"}} if is_chain else {})


def test_rule_that_reads_by_digest_waits_for_whoever_writes_there() -> None:
    """Which content a tag will have is not known before."""
    second = rule("2", f"t.test/a@{digest_of('app')}", "u.test/a")

    assert waits(chain_rules([rule("1", "s.test/a:x", "t.test/a"), second])) == {"2": {"1"}}


def test_rule_that_reads_where_it_writes_does_not_wait_for_itself() -> None:
    """Promoting from one tag to another of the same repository is no chain."""
    assert waits(chain_rules([rule("1", "t.test/a", "t.test/a:{tag}-copy")])) == {}


def test_circle_is_cut_before_the_rule_that_sorts_first() -> None:
    """It goes first, the others follow in order, and it is told why."""
    circle = [
        rule("b", "two.test/x", "three.test/x"),
        rule("c", "three.test/x", "one.test/x"),
        rule("a", "one.test/x", "two.test/x"),
    ]
    chains = chain_rules(circle)

    assert waits(chains) == {"b": {"a"}, "c": {"b"}}
    assert chains.cut == {"a": ("c",)}
    assert chains.warnings("b") == []
    [warning] = chains.warnings("a")
    assert 'rules "a" and "c" may feed each other' in warning
    assert '"a" goes first' in warning


def test_rules_that_a_circle_feeds_wait_for_it() -> None:
    """A rule behind a circle is no part of it."""
    chains = chain_rules(
        [
            rule("a", "one.test/x", "two.test/x"),
            rule("b", "two.test/x", "one.test/x"),
            rule("0", "two.test/x", "three.test/x"),
        ]
    )

    assert waits(chains) == {"b": {"a"}, "0": {"a"}}


def test_names_are_all_that_chains_tell() -> None:
    """A rule of another name is another rule."""
    first = rule("1", "s.test/a", "t.test/a")

    assert waits(chain_rules([first, replace(first, name="2")])) == {}
