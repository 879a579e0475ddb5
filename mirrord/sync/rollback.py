"""Tags of a source that return to an older digest: found by what they were seen with in earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location
from mirrord.planning.memory import SeenDigest, what_came_later
from mirrord.planning.plan import ImagePlan
from mirrord.planning.planner import describe_rollback
from mirrord.planning.rule import Rule
from mirrord.sync.context import Context
from mirrord.sync.observe import Observed
from mirrord.sync.remembered import Remembered


async def with_history(
    context: Context, rule: Rule, source: Location, images: Sequence[Observed], remembered: Remembered
) -> Sequence[Observed]:
    """Return images with what their tags had after the digest that they have now; remembers what each is seen with.

    Only tags that moved, or that a target does not serve as they are, are asked about.
    """
    if not context.memory.remembers or rule.source.digest is not None:
        return images
    now: dict[str, Digest] = {}
    moved: list[SeenDigest] = []
    for seen in images:
        root, wanted = seen.observation.root.digest, seen.observation.wanted.digest
        for tag in seen.observation.tags:
            if tag.tag is None:
                continue
            is_new = remembered.known_source(tag.tag) != root
            if is_new:
                moved.append(SeenDigest(tag=tag.tag.name, digest=root, first_seen=remembered.now))
            if is_new or any(fact.digest != wanted for fact in tag.facts):
                now[tag.tag.name] = root
    if not now:
        return images
    history = await context.memory.seen(source, list(now))
    context.memory.keep_seen(source, moved)
    newer = {name: what_came_later(history.get(name, ()), digest) for name, digest in now.items()}
    return [_with_newer(seen, newer) for seen in images]


def _with_newer(seen: Observed, newer: dict[str, SeenDigest | None]) -> Observed:
    tags = tuple(
        replace(tag, newer=newer.get(tag.tag.name)) if tag.tag is not None else tag for tag in seen.observation.tags
    )
    return replace(seen, observation=replace(seen.observation, tags=tags))


def rollback_warnings(seen: Observed, plan: ImagePlan) -> list[str]:
    """Return what is to be told of tags that returned to an older digest and are mirrored all the same."""
    changed = {tag.source_tag for target in plan.changes for tag in target.changes}
    digest = seen.observation.root.digest
    return [
        f"{plan.source}: {describe_rollback(tag.tag, digest, tag.newer)}; it is mirrored, as on_rollback says"
        for tag in seen.observation.tags
        if tag.newer is not None and tag.tag in changed
    ]
