"""Gathers the facts about the images that a rule takes: at most one look a tag at the source, one at each target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Tag
from mirrord.planning.observation import ImageObservation, TagObservation, TargetFact, unasked
from mirrord.planning.report import Outcome, Problem, UnitResult
from mirrord.planning.rule import Rule
from mirrord.ports.events import Noted
from mirrord.sync.choose import Choice
from mirrord.sync.context import LOOKS_AT_ONCE, Context
from mirrord.sync.looking import TargetWatch, ask_source, source_hint
from mirrord.sync.platforms import Wanted, apply_filter, why_unwanted
from mirrord.sync.remembered import Remembered
from mirrord.transfer.side import each
from mirrord.transfer.unit import describe

DRIFT = "drift"

Ask = Callable[[Digest], Awaitable[list[TargetFact]]]
"""Asks all targets of an image for what they hold, given what they should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """An image with the facts about it, and what a platform filter makes of it."""

    observation: ImageObservation
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What came of looking at a repository: images with their facts, and tags that are settled already.

    The source was ``seen`` unless none of its tags could be asked for.
    """

    images: tuple[Observed, ...]
    settled: tuple[UnitResult, ...]
    warnings: tuple[str, ...] = ()
    seen: bool = True


async def observe(context: Context, rule: Rule, choice: Choice, remembered: Remembered | None = None) -> Looks:
    """Look at every chosen tag; a tag that cannot be resolved is settled, and does not stop the others.

    What is ``remembered`` of targets spares a look at them; without it both sides are asked.
    """
    remembered = remembered or Remembered.nothing(rule, choice.source, context.clock.now())
    watcher = _Watcher(context, rule, choice, remembered)
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
        seen=bool(roots) or not watcher.unseen,
    )


class _Watcher:
    """Looks at the images of one repository for one rule."""

    def __init__(self, context: Context, rule: Rule, choice: Choice, remembered: Remembered) -> None:
        self.settled: list[UnitResult] = []
        self.unseen = 0
        self.warnings: list[str] = []
        self._context = context
        self._rule = rule
        self._choice = choice
        self._reader = context.gateway.reader(choice.source)
        self._remembered = remembered
        self._targets = [
            TargetWatch(context, template.location(choice.source), remembered) for template in rule.targets
        ]

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
            target = self._targets[index]
            pairs = [(tag, name) for tag in tags if (name := self._map(index, tag)) is not None]
            await target.gather(len({name for tag, name in pairs if target.will_ask(tag, name)}))

        await each(range(len(self._targets)), gather, LOOKS_AT_ONCE)

    async def resolve(self, tag: Tag | None) -> Descriptor | None:
        """Return what a tag points to now, or settle it: it vanished, was never there, or could not be asked.

        What a listing told is taken for it where every target has that already, and only there. A tag that never moves
        and is mirrored to every target is not asked for.
        """
        if tag is not None and (known := await self._immutable(tag) or await self._unchanged(tag)) is not None:
            return unasked(known)
        ref = self._choice.digest or tag
        assert ref is not None
        try:
            if tag is not None and tag in self._choice.troubles:
                raise self._choice.troubles[tag]
            head = await ask_source(self._context, self._reader, ref)
        except MirrordError as exc:
            self.unseen += 1
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

    async def _immutable(self, tag: Tag) -> Digest | None:
        """Return the digest of a tag that never moves and is mirrored; a listing that tells another one is reported."""
        choice = self._choice
        if choice.digest is not None or self._context.resolutions.knows(choice.source, tag):
            return None
        digest = self._remembered.settled(tag)
        if digest is None or not await self._is_everywhere(tag, digest):
            return None
        told = self._context.hints.told(choice.source, tag)
        if told not in {None, digest}:
            text = f"{choice.source}:{tag} is told to be {told} now; it is immutable, and stays {digest} on its targets"
            self.warnings.append(f"drift: {text}")
            self._context.events.emit(Noted(what=DRIFT, text=text, host=choice.source.host))
        return digest

    async def _unchanged(self, tag: Tag) -> Digest | None:
        """Return the digest that a listing told of a tag, if all targets have it; None: the source is to be asked.

        With a platform filter the source has to be read, unless it is remembered what becomes of the digest.
        """
        choice = self._choice
        if choice.digest is not None or tag in choice.troubles:
            return None
        hint = source_hint(self._context, choice.source, tag)
        return hint if hint is not None and await self._is_everywhere(tag, hint) else None

    async def _is_everywhere(self, tag: Tag, digest: Digest) -> bool:
        """Say whether all targets serve what is wanted of a digest of the source, without reading that."""
        wanted = self._remembered.wanted(digest)
        if wanted is None:
            return False
        names = [(target, self._map(index, tag)) for index, target in enumerate(self._targets)]
        facts = await each(names, lambda name: name[0].fact(tag, name[1], wanted), LOOKS_AT_ONCE)
        return all(fact.digest == wanted for fact in facts)

    async def image(self, root: Descriptor, tags: Sequence[Tag | None]) -> Observed | None:
        """Return the facts about one source digest; settles its tags where the source cannot tell them."""
        names = {tag: [(target, self._map(index, tag)) for index, target in enumerate(self._targets)] for tag in tags}
        asks = [(tag, target, name) for tag, pairs in names.items() for target, name in pairs]

        async def ask(digest: Digest) -> list[TargetFact]:
            return await each(asks, lambda one: one[1].fact(one[0], one[2], digest), LOOKS_AT_ONCE)

        try:
            if (wanted := await self._remembered_wanted(root, ask)) is None:
                wanted = await apply_filter(self._reader, root, self._rule.platforms)
        except MirrordError as exc:
            for tag in tags:
                self._settle(tag, Outcome.FAILED, str(exc), describe(exc), root.digest)
            return None
        asked = await ask(wanted.descriptor.digest)
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

    async def _remembered_wanted(self, root: Descriptor, ask: Ask) -> Wanted | None:
        """Return what a platform filter makes of an image, if it is remembered and served everywhere.

        Then the index is not read. A root that is an image itself is what is wanted, and costs no reading here.
        """
        if not self._rule.platforms.platforms or root.is_manifest:
            return None
        digest = self._remembered.wanted(root.digest)
        if digest is None or any(fact.digest != digest for fact in await ask(digest)):
            return None
        return Wanted(descriptor=root if digest == root.digest else unasked(digest))

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
