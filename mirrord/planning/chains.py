"""Chains of rules: which rules of a run wait for others, since they read what these write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mirrord.planning.feeds import Readers
from mirrord.planning.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """How the rules of a run depend on each other, all by name. No rule waits for itself, however far around.

    Attributes:
        before: for each rule those that it waits for.
        depth: for each rule how many must be done one after another before it begins; 0 for one that waits for none.
        cut: for some rules those that feed them and are not waited for, because they wait in turn.
    """

    before: Mapping[str, frozenset[str]] = field(default_factory=dict)
    depth: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def warnings(self, name: str) -> list[str]:
        """Return what the owner of a rule should know about its place in a circle."""
        return [
            f'rules "{name}" and "{other}" may feed each other, at once or through others: "{name}" goes first, '
            f'and sees what "{other}" writes in the next run'
            for other in self.cut.get(name, ())
        ]


def chain_rules(rules: Sequence[Rule]) -> Chains:
    """Return who waits for whom; the order of ``rules`` has no influence.

    A circle is cut where it comes back to the rule whose name sorts first among those from where it is reached.
    """
    readers = Readers(rules)
    names = sorted(rule.name for rule in rules)
    by_name = {rule.name: rule for rule in rules}
    feeds = {name: sorted({reader.name for reader in readers.fed_by(by_name[name])} - {name}) for name in names}
    before: dict[str, set[str]] = {name: set() for name in names}
    cut: dict[str, list[str]] = {}
    finished: list[str] = []
    for writer, reader in _walk(names, feeds, finished):
        cut.setdefault(reader, []).append(writer)
    for writer, fed in feeds.items():
        for reader in fed:
            if writer not in cut.get(reader, ()):
                before[reader].add(writer)
    depth: dict[str, int] = {}
    for name in reversed(finished):  # every rule after those that it waits for
        depth[name] = max((depth[other] + 1 for other in before[name]), default=0)
    return Chains(
        before={name: frozenset(others) for name, others in before.items()},
        depth=depth,
        cut={name: tuple(others) for name, others in cut.items()},
    )


def _walk(names: Sequence[str], feeds: Mapping[str, Sequence[str]], finished: list[str]) -> Iterator[tuple[str, str]]:
    """Follow what rules feed, depth first; yield the steps that lead back to a rule on the way: they close circles.

    ``finished`` gets every rule after all that can be reached from it.
    """
    on_way: set[str] = set()
    seen: set[str] = set()
    for start in names:
        if start in seen:
            continue
        seen.add(start)
        on_way.add(start)
        way = [(start, iter(feeds[start]))]
        while way:
            name, left = way[-1]
            following = next(left, None)
            if following is None:
                way.pop()
                on_way.discard(name)
                finished.append(name)
            elif following in on_way:
                yield name, following
            elif following not in seen:
                seen.add(following)
                on_way.add(following)
                way.append((following, iter(feeds[following])))
