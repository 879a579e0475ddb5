"""Targets that would be written twice: two images that meet on one tag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from mirrord.config.finding import Finding
from mirrord.config.flows import Flow
from mirrord.oci.reference import Location
from mirrord.planning.select import name_candidates
from mirrord.planning.tagsets import Meeting, meeting

_MOST_FINDINGS = 20
"""Most findings for one target: a hundred rules that all write one repository are one mistake."""


def find_conflicts(flows: Sequence[Flow]) -> Iterator[Finding]:
    """Yield the targets that surely, or as warnings perhaps, give one tag to two images."""
    by_location: dict[Location, list[Flow]] = defaultdict(list)
    by_pattern: dict[Hashable, list[Flow]] = defaultdict(list)
    for flow in flows:
        yield from _collapses(flow)
        if flow.location is not None:
            by_location[flow.location].append(flow)
        else:
            by_pattern[flow.locations].append(flow)
    for group in by_location.values():
        yield from _within(group, certain=True)
    for group in by_pattern.values():
        # Whether both sources have a repository of one name is not for the file to say.
        yield from _within(group, certain=False)
    yield from _prune_conflicts([*by_location.values(), *by_pattern.values()])


def _collapses(flow: Flow) -> Iterator[Finding]:
    """Yield a finding if a target brings many repositories or many tags of its own source together."""
    source = flow.rule.rule.source
    if source.repositories is not None and flow.location is not None:
        message = (
            f'every repository of "{flow.rule.section.source}" would be written to "{flow.location}"; '
            "add {repository}, or {namespace} and {name}"
        )
        yield Finding(flow.path, "RULE_CONFLICT", message)
    if flow.tags.fixed is None or source.tag is not None or source.digest is not None:
        return
    tags = flow.rule.rule.tags
    read = name_candidates(tags, tags.literal_tags) if tags.literal_tags is not None else None
    if flow.tags.fixed and (read is None or len(flow.tags.fixed) < len(read)):
        message = f'several tags would be written to the tag "{flow.tags.fixed[0]}"; add {{tag}}'
        yield Finding(flow.path, "RULE_CONFLICT", message)


def _within(group: list[Flow], *, certain: bool) -> Iterator[Finding]:
    """Yield the conflicts among flows that write one location."""
    found = 0
    written: dict[str, Flow] = {}
    open_flows: list[Flow] = []
    for number, flow in enumerate(group):
        # Of the flows with known tags, those alone that have one of ours: thousands may share a repository.
        known = [written[name] for name in flow.tags.fixed or () if name in written]
        for other in group[:number] if flow.tags.fixed is None else (*known, *open_flows):
            answer = _meet(flow, other)
            if answer is Meeting.NEVER:
                continue
            yield _conflict(flow, other, is_warning=not certain or answer is Meeting.PERHAPS)
            found += 1
            break
        if found >= _MOST_FINDINGS:
            return
        if flow.tags.fixed is None:
            open_flows.append(flow)
            continue
        for name in flow.tags.fixed:
            written.setdefault(name, flow)


def _meet(flow: Flow, other: Flow) -> Meeting:
    if flow.rule is not other.rule and flow.content == other.content:
        return Meeting.NEVER  # the same image comes either way
    return meeting(flow.tags, other.tags)


def _conflict(flow: Flow, other: Flow, *, is_warning: bool) -> Finding:
    same_rule = flow.rule.index == other.rule.index
    who = f"targets[{other.target}] of the same rule" if same_rule else f'the rule "{other.rule.rule.name}"'
    what = "may write a tag that this target writes too" if is_warning else "writes a tag that this target writes too"
    message = f"{who} {what}; choose other tags, or tell them apart with a tag template such as :name-{{tag}}"
    return Finding(flow.path, "RULE_CONFLICT", message, is_warning=is_warning)


def _prune_conflicts(groups: Sequence[list[Flow]]) -> Iterator[Finding]:
    for group in groups:
        pruning = [flow for flow in group if flow.rule.options.prune.enabled]
        for flow in pruning[1 : _MOST_FINDINGS + 1]:
            first = pruning[0]
            if first.rule.index != flow.rule.index:
                message = f'the rule "{first.rule.rule.name}" prunes this target too; let one of them prune it'
                yield Finding(flow.path, "PRUNE_CONFLICT", message)
