"""Rules of the file to rules of the planner."""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.config.origin import SourceText
from mirrord.config.rule_models import RepositoriesSection, RuleOptions, RuleSection, TagsSection
from mirrord.config.schedule import ScheduleSection
from mirrord.planning.rule import (
    Newest,
    PlatformSelector,
    Policy,
    Referrers,
    RepositorySelector,
    Rule,
    Source,
    TagSelector,
)
from mirrord.planning.schedule import Cron, Every, Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRule:
    """A rule with where it came from.

    Attributes:
        index: its place in the file's list of rules, from 0.
        section: what the file says of it.
        options: its options, those of ``defaults`` included.
        rule: what the planner works with.
    """

    index: int
    section: RuleSection
    options: RuleOptions
    rule: Rule


def read_rule(index: int, section: RuleSection, options: RuleOptions) -> ReadRule:
    """Return the rule that ``section`` describes."""
    one_image = section.source.names_one_image
    rule = Rule(
        name=section.name,
        source=_source(section.source, options.repositories),
        targets=section.targets,
        tags=TagSelector() if one_image else _tags(options.tags),
        platforms=PlatformSelector(platforms=options.platforms, mode=options.index),
        referrers=Referrers(
            enabled=options.referrers.enabled, types=options.referrers.types, recheck=options.referrers.recheck
        ),
        policy=Policy(
            overwrite=options.overwrite,
            immutable_tags=options.immutable_tags,
            target_recheck=options.target_recheck,
            foreign_layers=options.foreign_layers,
            on_rollback=options.on_rollback,
        ),
        schedule=_schedule(options.schedule),
        freshness=options.freshness,
    )
    return ReadRule(index=index, section=section, options=options, rule=rule)


def _schedule(section: ScheduleSection | None) -> Schedule | None:
    if section is None:
        return None
    if section.every is not None:
        return Every(interval=section.every, jitter=section.jitter)
    assert section.cron is not None
    return Cron(expression=section.cron, timezone=section.timezone, jitter=section.jitter)


def _source(source: SourceText, repositories: RepositoriesSection) -> Source:
    if source.reference is not None:
        return Source(location=source.reference.location, tag=source.reference.tag, digest=source.reference.digest)
    assert source.pattern is not None
    return Source(
        repositories=RepositorySelector(
            host=source.host, pattern=source.pattern, include=repositories.include, exclude=repositories.exclude
        )
    )


def _tags(tags: TagsSection) -> TagSelector:
    newest = Newest(count=tags.newest.count, by=tags.newest.by) if tags.newest else None
    return TagSelector(
        include=tags.include, semver=tags.semver, exclude=tags.exclude, newest=newest, max_age=tags.max_age
    )
