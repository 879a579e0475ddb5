"""The keys of a rule."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from mirrord.config.faults import fault
from mirrord.config.fields import (
    Flag,
    PathPatternField,
    PlatformField,
    TagPatternField,
    TargetField,
    Text,
    VersionRangeField,
    choice,
    text_reader,
    whole_number,
)
from mirrord.config.origin import SourceField
from mirrord.config.quantities import Age, Freshness, Grace, Recheck, Share
from mirrord.config.schedule import ScheduleSection
from mirrord.config.section import Section
from mirrord.config.tree import Scalar
from mirrord.errors import quote
from mirrord.planning.rule import ForeignLayers, IndexMode, NewestBy, OnRollback

_RULE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _rule_name(text: str) -> str:
    if not _RULE_NAME.fullmatch(text):
        raise fault(
            "RULE_NAME_INVALID",
            f'"{quote(text, 80)}" is no name of a rule; 1 to 63 lower-case letters, '
            'digits, ".", "_" and "-", beginning with a letter or digit',
        )
    return text


class NewestSection(Section):
    """Keeps the newest tags of those that all other filters took."""

    count: Annotated[int, whole_number(1, 100_000)] = Field(description="How many tags to keep.", examples=[5])
    by: Annotated[NewestBy, choice(NewestBy)] = Field(
        default=NewestBy.SEMVER,
        description="What makes a tag newer: its version (`semver`; tags that are no version are left out), when its "
        "image was created (`created`), or the order of names (`name`).",
    )


class TagsSection(Section):
    """Which tags of a repository are mirrored: those that `include` or `semver` takes, or all without either."""

    form = "{include: [...]}"

    include: tuple[TagPatternField, ...] = Field(
        default=(),
        description="Tags to take: literals, globs (`*`, `?`, `[a-f]`), or `/regular expressions/` that match the "
        "whole tag (RE2 syntax, linear time).",
        examples=[["stable", "1.2*", "/^\\d+\\.\\d+-alpine$/"]],
    )
    semver: VersionRangeField | None = Field(
        default=None,
        description="Versions to take, as a range in npm's syntax. Prereleases are taken where the range names one.",
        examples=[">=1.25 <2", "^1.4 || ~2.0"],
    )
    exclude: tuple[TagPatternField, ...] = Field(
        default=(), description="Tags to leave out of those taken, in the forms of `include`.", examples=[["*-rc*"]]
    )
    newest: NewestSection | None = Field(default=None, description="Keep only the newest of the tags that are left.")
    max_age: Age | None = Field(
        default=None, description="Leave out tags whose image was created longer ago than this.", examples=["90d"]
    )


class RepositoriesSection(Section):
    """Which repositories are mirrored of those that the source's pattern means."""

    include: tuple[PathPatternField, ...] = Field(
        default=(),
        description="Only repositories whose path, without the registry, matches one of these. Empty: all.",
        examples=[["acme/team-*"]],
    )
    exclude: tuple[PathPatternField, ...] = Field(
        default=(), description="Repositories to leave out, by their path.", examples=[["*/sandbox-*"]]
    )


class ReferrersSection(Section):
    """Whether signatures, SBOMs and attestations come along."""

    shorthand: ClassVar = {"type": "boolean"}

    enabled: Flag = Field(default=True, description="`false` mirrors images alone, the same as `referrers: false`.")
    types: tuple[Text, ...] = Field(
        default=(),
        description="Artifact types to take; empty: all of them.",
        examples=[["application/spdx+json", "application/vnd.dev.cosign.artifact.sig.v1+json"]],
    )
    recheck: Recheck = Field(
        default=timedelta(hours=24),
        description="How often the referrers of an unchanged image are looked at again, where a state store "
        "remembers them; `0s`: in every run.",
    )

    @classmethod
    def expand(cls, scalar: Scalar) -> dict[str, object]:
        """Return the mapping that a truth value stands for."""
        return {"enabled": scalar}


class PruneSection(Section):
    """What `mirrord prune` may delete of this rule's targets. Nothing else ever deletes."""

    shorthand: ClassVar = {"type": "boolean"}

    enabled: Flag = Field(default=True, description="`false` never deletes, the same as `prune: false`.")
    grace: Grace = Field(
        default=timedelta(days=7),
        description="How long a tag must have been gone from the source before it may be deleted.",
    )
    max_tags: Annotated[int, whole_number(0, 100_000)] = Field(
        default=20, description="Most tags that one prune may delete of a target; with more to delete it deletes none."
    )
    max_share: Share = Field(
        default=0.1,
        description="Largest share of a target's tags that one prune may delete; with more it deletes none.",
        json_schema_extra={"default": "10%"},
    )

    @classmethod
    def expand(cls, scalar: Scalar) -> dict[str, object]:
        """Return the mapping that a truth value stands for."""
        return {"enabled": scalar}


class RuleOptions(Section):
    """Keys that may stand under `defaults` too. A key of a rule replaces that of `defaults` as a whole."""

    tags: TagsSection = Field(default=TagsSection(), description="Which tags are mirrored; without filters, all.")
    repositories: RepositoriesSection = Field(
        default=RepositoriesSection(), description="With a pattern as source: which repositories are mirrored."
    )
    platforms: tuple[PlatformField, ...] = Field(
        default=(),
        description="Platforms to mirror of an image that has several; empty: all, the index byte for byte.",
        examples=[["linux/amd64", "linux/arm64"]],
    )
    index: Annotated[IndexMode, choice(IndexMode)] = Field(
        default=IndexMode.REWRITE,
        description="With `platforms`: `rewrite` pushes a new index of only these, with a new digest; `sparse` pushes "
        "the same index, with the same digest, without its other children.",
    )
    schedule: ScheduleSection | None = Field(
        default=None,
        description="When the service runs the rule. Without one it runs when asked to.",
        examples=["15m", "0 */6 * * *", {"cron": "0 3 * * MON", "timezone": "Europe/Berlin", "jitter": "2m"}],
    )
    freshness: Freshness | None = Field(
        default=None,
        description="The promise: a new digest of the source is served by every target within this time. The page, "
        "metrics and alerts measure it; runs do not change by it.",
        examples=["1h"],
    )
    referrers: ReferrersSection = Field(
        default=ReferrersSection(), description="Signatures, SBOMs and attestations: `true`, `false`, or details."
    )
    overwrite: Flag = Field(default=True, description="`false`: a tag that exists on the target is never moved.")
    immutable_tags: tuple[TagPatternField, ...] = Field(
        default=(),
        description="Tags that do not change once mirrored: they are not moved, and, where a state store remembers "
        "that all targets have them, not asked for again. A change at the source that shows all the same is reported "
        "as drift.",
        examples=[["/^v?\\d+\\.\\d+\\.\\d+$/"]],
    )
    target_recheck: Recheck = Field(
        default=timedelta(hours=1),
        description="How long it is believed without asking that a target still holds what was mirrored to it, where a "
        "state store remembers it; `0s`: ask in every run.",
    )
    foreign_layers: Annotated[ForeignLayers, choice(ForeignLayers)] = Field(
        default=ForeignLayers.KEEP,
        description="Layers with URLs elsewhere: `keep` leaves them there, as the specification says; `fetch` copies "
        "them.",
    )
    on_rollback: Annotated[OnRollback, choice(OnRollback)] = Field(
        default=OnRollback.WARN,
        description="When a tag of the source returns to an older digest, as a state store remembers: `warn` mirrors "
        "it and says so, `block` does not mirror it.",
    )
    prune: PruneSection = Field(
        default=PruneSection.model_construct(enabled=False),
        description="What `mirrord prune` may delete: `false`, or the guards. Checked, and without effect in this "
        "version.",
        examples=[False, {"grace": "7d", "max_tags": 20, "max_share": "10%"}],
    )


class RuleSection(RuleOptions):
    """One line of what to mirror."""

    name: Annotated[str, text_reader("name", _rule_name, of_tags=True)] = Field(
        description="The rule's name in reports, metrics and commands: unique, 1 to 63 of `a-z 0-9 . _ -`.",
        examples=["nginx"],
    )
    source: SourceField = Field(
        description="What to read: a repository, a pattern of repositories (`*` within one path segment, `**` across), "
        "one image by tag or digest, or an OCI image layout `oci:DIRECTORY`.",
        examples=["docker.io/library/nginx", "ghcr.io/acme/*", "quay.io/prometheus/prometheus:v3.1.0"],
    )
    targets: tuple[TargetField, ...] = Field(
        description="Where to write: references, which may have the placeholders `{registry}`, `{repository}`, "
        "`{namespace}` and `{name}`, and `{tag}` in a tag; or `oci:DIRECTORY`.",
        examples=[["registry.internal:5000/mirror/{repository}"]],
    )
