"""What can be wrong with valid values: keys that contradict each other, and keys that have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from mirrord.config.conflicts import find_conflicts
from mirrord.config.finding import Finding
from mirrord.config.flows import flows_of
from mirrord.config.loops import find_loops
from mirrord.config.rules import ReadRule

MAX_RULES = 20_000

_EVERYTHING = frozenset({"*", "**", "//", "/.*/", "/^.*$/", "/.+/"})


def check_rules(rules: Sequence[ReadRule]) -> Iterator[Finding]:
    """Yield all that is wrong or risky among the rules."""
    if not rules:
        yield Finding(("rules",), "NO_RULES", "there are no rules: nothing is mirrored", is_warning=True)
    yield from _check_names(rules)
    for rule in rules:
        yield from _check_contradictions(rule)
        yield from _check_effects(rule)
        yield from _check_prune(rule)
    flows, findings = flows_of(rules)
    yield from findings
    yield from find_loops(rules, flows)
    yield from find_conflicts(flows)


def _check_names(rules: Sequence[ReadRule]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for rule in rules:
        earlier = first.setdefault(rule.rule.name, rule.index)
        if earlier != rule.index:
            message = f'rules[{earlier}] has the name "{rule.rule.name}" already'
            yield Finding(("rules", rule.index, "name"), "RULE_NAME_DUPLICATE", message)


def _check_contradictions(rule: ReadRule) -> Iterator[Finding]:
    path = ("rules", rule.index)
    section = rule.section
    if not section.targets:
        yield Finding((*path, "targets"), "CONFIG_VALUE", "a rule needs at least one target")
    seen: set[str] = set()
    for number, target in enumerate(section.targets):
        if target.text in seen:
            yield Finding((*path, "targets", number), "RULE_CONFLICT", f'"{target}" stands twice in the list')
        seen.add(target.text)
    if section.source.names_one_image and section.tags.model_fields_set:
        kind = "a digest" if section.source.reference and section.source.reference.digest else "a tag"
        message = f"the source names one image by {kind}; leave out tags, or the tag of the source"
        yield Finding((*path, "tags"), "CONFIG_CONFLICT", message)
    if section.source.pattern is None and section.repositories.model_fields_set:
        message = "the source is no pattern of repositories; leave out repositories, or write * in the source"
        yield Finding((*path, "repositories"), "CONFIG_CONFLICT", message)


def _check_effects(rule: ReadRule) -> Iterator[Finding]:
    path = ("rules", rule.index)
    options = rule.options
    if "index" in rule.section.model_fields_set and not options.platforms:
        message = "index has no effect without platforms"
        yield Finding((*path, "index"), "NO_EFFECT", message, is_warning=True)
    every = options.schedule.every if options.schedule else None
    if options.freshness is not None and every is not None:
        latest = every + (options.schedule.jitter if options.schedule else timedelta(0))
        if latest > options.freshness:
            message = "the rule runs less often than its freshness promises"
            yield Finding((*path, "freshness"), "FRESHNESS_UNKEPT", message, is_warning=True)


def _check_prune(rule: ReadRule) -> Iterator[Finding]:
    path = ("rules", rule.index)
    prune = rule.options.prune
    if not prune.enabled:
        return
    if prune.max_tags == 0 or prune.max_share == 0:
        key = "max_tags" if prune.max_tags == 0 else "max_share"
        message = f"{key} is 0: nothing will ever be pruned; prune: false says the same"
        yield Finding((*path, "prune", key), "NO_EFFECT", message, is_warning=True)
    if any(pattern.text in _EVERYTHING for pattern in rule.options.tags.include):
        message = "the rule takes every tag and prunes: a tag that is gone from the source goes from the targets too"
        yield Finding((*path, "tags", "include"), "PRUNE_WIDE", message, is_warning=True)
