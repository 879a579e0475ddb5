"""Gathers the facts about the images that a rule takes: at most one look a tag at the source, one at each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Tag
from mirrord.planning.observation import ImageObservation, TagObservation, unasked
from mirrord.planning.report import Outcome, Problem, UnitResult
from mirrord.planning.rule import Rule
from mirrord.ports.registry import RepositoryReader
from mirrord.sync.choose import Choice
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.looking import TargetWatch, ask_source, source_hint
from mirrord.sync.platforms import Wanted, apply_filter, why_unwanted
from mirrord.transfer.side import each
from mirrord.transfer.unit import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """An image with the facts about it, and what a platform filter makes of it."""

    observation: ImageObservation
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What came of looking at a repository: images with their facts, and tags that are settled already."""

    images: tuple[Observed, ...]
    settled: tuple[UnitResult, ...]
    warnings: tuple[str, ...] = ()


async def observe(context: Context, rule: Rule, choice: Choice) -> Looks:
    """Look at every chosen tag; a tag that cannot be resolved is settled, and does not stop the others."""
    reader = context.gateway.reader(choice.source)
    locations = [template.location(choice.source) for template in rule.targets]
    watcher = _Watcher(context, rule, choice, reader, locations)
    wanted: list[Tag | None] = [None] if choice.digest is not None and not choice.selection.taken else []
    wanted += [tag for tag in choice.selection.taken if watcher.has_place(tag)]
    await watcher.gather(wanted)
    heads = await each(wanted, watcher.resolve, LOOKS_AT_ONCE)
    roots: dict[Digest, Descriptor] = {}
    tags: dict[Digest, list[Tag | None]] = {}
    for tag, head in zip(wanted, heads, strict=True):
        if head is not None:
            if not (known := roots.get(head.digest)) or not known.media_type:
                roots[head.digest] = head  # what the source itself said comes before what a listing told
            tags.setdefault(head.digest, []).append(tag)
    images = await each(list(roots), lambda digest: watcher.image(roots[digest], tags[digest]), LOOKS_AT_ONCE)
    return Looks(
        images=tuple(image for image in images if image is not None),
        settled=tuple(watcher.settled),
        warnings=tuple(dict.fromkeys(watcher.warnings)),
    )


class _Watcher:
    """Looks at the images of one repository for one rule."""

    def __init__(
        self, context: Context, rule: Rule, choice: Choice, reader: RepositoryReader, locations: Sequence[Location]
    ) -> None:
        self.settled: list[UnitResult] = []
        self.warnings: list[str] = []
        self._context = context
        self._rule = rule
        self._choice = choice
        self._reader = reader
        self._targets = [TargetWatch(context, location) for location in locations]

    def has_place(self, tag: Tag) -> bool:
        """Say whether every target has a valid tag for ``tag``; one that has not fails this tag alone."""
        try:
            for index in range(len(self._targets)):
                self._map(index, tag)
        except MirrordError as exc:
            self._settle(tag, Outcome.FAILED, str(exc), describe(exc), is_mapped=False)
            return False
        return True

    async def gather(self, tags: Sequence[Tag | None]) -> None:
        """Learn what each target holds at once, where that costs fewer requests than a look at each tag."""

        async def gather(index: int) -> None:
            names = {self._map(index, tag) for tag in tags} - {None}
            await self._targets[index].gather(len(names))

        await each(range(len(self._targets)), gather, LOOKS_AT_ONCE)

    async def resolve(self, tag: Tag | None) -> Descriptor | None:
        """Return what a tag points to now, or settle it: it vanished, was never there, or could not be asked.

        What a listing told is taken for it where every target has that already, and only there.
        """
        if tag is not None and (hint := await self._unchanged(tag)) is not None:
            return unasked(hint)
        ref = self._choice.digest or tag
        assert ref is not None
        try:
            if tag is not None and tag in self._choice.troubles:
                raise self._choice.troubles[tag]
            head = await ask_source(self._context, self._reader, ref)
        except MirrordError as exc:
            self._settle(tag, Outcome.FAILED, str(exc), describe(exc))
            return None
        if head is None and tag is not None and tag not in self._choice.demanded:
            named = any(pattern.literal == tag for pattern in self._rule.tags.include)
            reason = (
                "the repository has no such tag" if named else "the tag vanished at the source while it was looked at"
            )
            self._settle(tag, Outcome.SKIPPED, reason)
        elif head is None:
            problem = self._not_found(ref)
            self._settle(tag, Outcome.FAILED, str(problem), problem)
        return head

    def _not_found(self, ref: Tag | Digest) -> Problem:
        source = self._choice.source
        message = f"{source}{'@' if isinstance(ref, Digest) else ':'}{ref} does not exist"
        if isinstance(source, LayoutDirectory):
            remedy = f"check the name; `mirrord tags {source}` shows what is there"
        elif self._rule.by_hand:
            message = f"{message}, or the credential for {source.host} may not see it"
            remedy = "check the name; for a private repository log in with docker, or name a configuration with -c"
        else:
            message = f"{message}, or the credential for {source.host} may not see it"
            remedy = f'check the name in rule "{self._rule.name}", and the credential with `mirrord auth check`'
        return Problem(code="NOT_FOUND", message=message, remedy=remedy)

    async def _unchanged(self, tag: Tag) -> Digest | None:
        """Return the digest that a listing told of a tag, if all targets have it; None: the source is to be asked.

        With a platform filter the source has to be read in any case.
        """
        choice = self._choice
        if self._rule.platforms.platforms or choice.digest is not None or tag in choice.troubles:
            return None
        hint = source_hint(self._context, choice.source, tag)
        if hint is None:
            return None
        names = [(target, self._map(index, tag)) for index, target in enumerate(self._targets)]
        facts = await each(names, lambda name: name[0].fact(name[1], hint), LOOKS_AT_ONCE)
        return hint if all(fact.digest == hint for fact in facts) else None

    async def image(self, root: Descriptor, tags: Sequence[Tag | None]) -> Observed | None:
        """Return the facts about one source digest; settles its tags where the source cannot tell them."""
        try:
            wanted = await apply_filter(self._reader, root, self._rule.platforms)
        except MirrordError as exc:
            for tag in tags:
                self._settle(tag, Outcome.FAILED, str(exc), describe(exc), root.digest)
            return None
        names = {tag: [(target, self._map(index, tag)) for index, target in enumerate(self._targets)] for tag in tags}
        asks = [(target, name) for pairs in names.values() for target, name in pairs]
        asked = await each(asks, lambda ask: ask[0].fact(ask[1], wanted.descriptor.digest), LOOKS_AT_ONCE)
        facts = iter(asked)
        observed = tuple(
            TagObservation(tag=tag, facts=tuple(next(facts) for _ in pairs)) for tag, pairs in names.items()
        )
        if root.is_manifest and any(f.digest != wanted.descriptor.digest for f in asked if f.problem is None):
            try:
                reason = await why_unwanted(self._reader, self._context.slots, root, self._rule.platforms)
            except MirrordError as exc:
                for tag in tags:
                    self._settle(tag, Outcome.FAILED, str(exc), describe(exc), root.digest)
                return None
            wanted = replace(wanted, unwanted=reason)
        if wanted.missing and not wanted.unwanted:
            missing = ", ".join(str(platform) for platform in wanted.missing)
            shown = ", ".join(str(tag or root.digest) for tag in tags[:3])
            self.warnings.append(f"{self._choice.source}:{shown} does not offer {missing}")
        observation = ImageObservation(
            source=self._choice.source,
            root=root,
            wanted=wanted.descriptor,
            tags=observed,
            at=self._context.clock.now(),
            rewritten=wanted.manifest if wanted.rewritten else None,
            unwanted=wanted.unwanted,
        )
        return Observed(observation=observation, wanted=wanted)

    def _map(self, index: int, tag: Tag | None) -> Tag | None:
        return self._rule.targets[index].tag(tag, self._choice.source)

    def _settle(
        self,
        tag: Tag | None,
        outcome: Outcome,
        reason: str,
        problem: Problem | None = None,
        digest: Digest | None = None,
        *,
        is_mapped: bool = True,
    ) -> None:
        for index, target in enumerate(self._targets):
            self.settled.append(
                UnitResult(
                    rule=self._rule.name,
                    source=self._choice.source,
                    target=target.location,
                    tags=((tag, self._map(index, tag) if is_mapped else None),),
                    outcome=outcome,
                    reason=reason,
                    digest=digest,
                    problem=problem,
                )
            )
