from __future__ import annotations

from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.chains import Chains, chain_rules
from mirrord.planning.feeds import Readers
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.rule import RepositorySelector, Rule, Source, TagSelector
from mirrord.planning.select import name_candidates
from mirrord.planning.target import TargetTemplate

PLACES = [Repository("one.test", path) for path in ("a", "b", "c", "d")]
TAGS = ("x", "y")
TEMPLATES = (
    "t.test/{repository}",
    "t.test/m/{repository}",
    "t.test/m/{namespace}/{name}",
    "t.test/m/{namespace}",
    "t.test/m/{namespace}/k",
    "t.test/{name}",
    "t.test/m-{namespace}/{name}:{tag}",
    "t.test/{registry}/{name}:{tag}-x",
    "t.test/m/all:{name}-{tag}",
    "t.test/m/all:{tag}",
    "t.test/m/a:fixed",
)
PATTERNS = ("**", "*", "a/*", "a/**", "**/b", "a/**/b", "*/b", "a*", "?", "m/**", "m/*", "b*/**")


@st.composite
def literal_rules(draw: st.DrawFn) -> list[Rule]:
    """Draw rules that read and write known places and known tags."""
    count = draw(st.integers(0, 7))
    return [
        Rule(
            name=f"rule-{number}",
            source=Source(location=draw(st.sampled_from(PLACES))),
            targets=tuple(
                TargetTemplate.parse(str(place))
                for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=2, unique=True))
            ),
            tags=TagSelector(
                include=tuple(
                    TagPattern.parse(tag) for tag in draw(st.lists(st.sampled_from(TAGS), min_size=1, unique=True))
                )
            ),
        )
        for number in range(count)
    ]


def feeds(writer: Rule, reader: Rule) -> bool:
    """Say whether a rule of known places and tags writes what another one reads."""
    written = {template.location(PLACES[0]) for template in writer.targets}
    return reader.source.location in written and not {*writer.tags.include}.isdisjoint(reader.tags.include)


def reached(start: Rule, rules: list[Rule]) -> set[str]:
    """Return the rules that ``start`` feeds, at once or through others."""
    found: set[str] = set()
    ends = [start]
    while ends:
        end = ends.pop()
        following = [rule for rule in rules if rule.name not in found and rule is not end and feeds(end, rule)]
        found |= {rule.name for rule in following}
        ends += following
    return found


@given(literal_rules())
def test_rules_wait_for_those_that_feed_them_and_for_no_others(rules: list[Rule]) -> None:
    """Each step from rule to rule is waited for, or cut since it closes a circle."""
    chains = chain_rules(rules)

    for reader in rules:
        feeding = {writer.name for writer in rules if writer is not reader and feeds(writer, reader)}
        cut = set(chains.cut.get(reader.name, ()))
        assert chains.before[reader.name] | cut == feeding
        assert not chains.before[reader.name] & cut
        assert cut <= reached(reader, rules)


@given(literal_rules())
def test_no_rule_waits_for_itself_however_far_around(rules: list[Rule]) -> None:
    """Who waits stands deeper than whom it waits for, and no deeper than it has to."""
    chains = chain_rules(rules)

    for rule in rules:
        depths = [chains.depth[name] for name in chains.before[rule.name]]
        assert chains.depth[rule.name] == max((depth + 1 for depth in depths), default=0)


@given(literal_rules().flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))))
def test_order_of_the_rules_has_no_influence(orders: tuple[list[Rule], list[Rule]]) -> None:
    """Whoever sorts the file anew gets the same chains, circles included."""
    before, after = map(chain_rules, orders)

    assert before == after


def test_no_rules_have_no_chains() -> None:
    """A file without rules is no special case."""
    assert chain_rules([]) == Chains()


paths = st.lists(st.sampled_from(("a", "b", "bc", "m", "k")), min_size=1, max_size=4).map("/".join)
selectors = st.sampled_from(
    [TagSelector(), *(TagSelector(include=(TagPattern.parse(text),)) for text in ("x", "*-x", "x*", "/x.?/", "fixed"))]
)
path_patterns = [*map(PathPattern.parse, PATTERNS), PathPattern.parse("/[a-m/]+/")]


@st.composite
def passed_on(draw: st.DrawFn) -> tuple[Rule, Rule]:
    """Draw a rule that reads many repositories, and one that reads where it brings one of them to."""
    path = draw(paths)
    pattern = draw(st.sampled_from([pattern for pattern in path_patterns if pattern.matches(path)]))
    writer = Rule(
        name="writer",
        source=Source(repositories=RepositorySelector(host="s.test", pattern=pattern)),
        targets=(TargetTemplate.parse(draw(st.sampled_from(TEMPLATES))),),
        tags=draw(selectors),
    )
    origin = Repository("s.test", path)
    try:
        location = writer.targets[0].location(origin)
        read = name_candidates(writer.tags, map(Tag, ("x", "1-x", "x1", "a", "fixed")))
        written = [tag for name in read if (tag := writer.targets[0].tag(name, origin)) is not None]
    except InvalidReferenceError:
        reject()
    assert isinstance(location, Repository)
    wide = [pattern for pattern in path_patterns if pattern.matches(location.path)]
    source = draw(
        st.sampled_from(
            [
                Source(location=location),
                *(Source(repositories=RepositorySelector(host="t.test", pattern=pattern)) for pattern in wide),
            ]
        )
    )
    reader = Rule(name="reader", source=source, targets=(TargetTemplate.parse("u.test/copy"),), tags=draw(selectors))
    assume(name_candidates(reader.tags, written))
    return writer, reader


@settings(max_examples=300)
@given(passed_on())
def test_rule_of_many_repositories_is_known_to_feed_whoever_reads_what_it_writes(rules: tuple[Rule, Rule]) -> None:
    """Whatever one repository brings to where a rule reads, the rules alone have told that it may."""
    writer, reader = rules

    assert [rule.name for rule in Readers([reader, writer]).fed_by(writer)] == ["reader"]
