"""What earlier runs found out about a rule's images of one source, and what this run makes of that.

Loaded once, when the rule begins to look at the source. A run without memory remembers nothing here, and asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mirrord.errors import InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Tag
from mirrord.planning.keeping import (
    Heard,
    Look,
    after_failed_look,
    after_look,
    after_unit,
    attached,
    hearing,
    in_sync,
    lacking,
)
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState, is_recent, scope_of, share_of
from mirrord.planning.plan import Decision, ImagePlan
from mirrord.planning.report import Outcome, UnitResult
from mirrord.planning.rule import Rule
from mirrord.ports.memory import Memory, NoMemory


async def recall(memory: Memory, rule: Rule, source: Location, now: datetime) -> Remembered:
    """Return what is known of a rule's images of one source; ``now`` is the moment of the look that begins."""
    images = await memory.images(rule.name, source) if memory.remembers else {}
    return Remembered(memory, rule, source, images, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The mark of attachment tags of which a target lacked nothing; empty: none is known.

    While it ``is_recent`` the target need not be asked for them.
    """

    mark: str = ""
    is_recent: bool = False


class Remembered:
    """The images of one rule and source, by source tag and target."""

    def __init__(
        self,
        memory: Memory,
        rule: Rule,
        source: Location,
        images: Mapping[ImageKey, ImageMemory],
        now: datetime,
    ) -> None:
        """Know what the store has of them."""
        self.now = now
        self._memory = memory
        self._rule = rule
        self.source = source
        self._scope = scope_of(rule)
        self._images = dict(images)
        self._proofs = _latest_proofs(images.values())
        self._wanted = _wanted_by_source(images.values(), self._scope)
        self._locations: list[Location] | None = None
        self._present: set[ImageKey] = set()
        self._gone: set[ImageKey] = set()

    @classmethod
    def nothing(cls, rule: Rule, source: Location, now: datetime) -> Remembered:
        """Return what is known without a memory."""
        return cls(NoMemory(), rule, source, {}, now)

    @property
    def keeps(self) -> bool:
        """Whether what this run finds out is kept at all."""
        return self._memory.remembers

    # --- what spares a request

    def proves(self, target: Location, source_tag: Tag | None, target_tag: Tag | None, wanted: Digest) -> bool:
        """Say whether a target need not be asked, since it was shown to serve ``wanted``.

        That holds for a while, and for good where the tag never moves. Of a directory it never does: to look there
        costs no request, and proves the bytes.
        """
        proof = self._proof(target, source_tag, target_tag)
        return proof is not None and proof.served == wanted

    def served(self, target: Location, source_tag: Tag | None, target_tag: Tag | None) -> bool:
        """Say whether there is such a proof for whatever the source has: the target will hardly have to be asked."""
        return self._proof(target, source_tag, target_tag) is not None

    def is_immutable(self, source_tag: Tag | None, target_tag: Tag | None) -> bool:
        """Say whether the rule's policy says that a tag never moves once it is mirrored."""
        return self._rule.policy.is_immutable(source_tag, target_tag)

    def wanted(self, digest: Digest) -> Digest | None:
        """Return what targets were shown to serve of a source's digest by this rule; None: it has to be found out."""
        return self._wanted.get(digest) if self._rule.platforms.platforms else digest

    def known_source(self, tag: Tag) -> Digest | None:
        """Return the digest that a tag had at the source when its images were looked at last; None if they differ."""
        found = {memory.digest for key, memory in self._of(tag) if key.ref == tag.name}
        return found.pop() if len(found) == 1 else None

    def settled(self, tag: Tag) -> Digest | None:
        """Return the source's digest of a tag that never moves and is mirrored to all targets; None: ask for it."""
        if not self._rule.policy.immutable_tags or not self._images:
            return None
        found = set()
        for key, memory in self._of(tag):
            mirrored = memory.state is ImageState.IN_SYNC and memory.scope == self._scope
            if not (mirrored and memory.proven_at is not None and memory.served is not None):
                return None
            if not self.is_immutable(tag, Tag(key.target_tag) if key.target_tag else None):
                return None
            found.add((memory.digest, memory.served))
        digest, served = found.pop() if len(found) == 1 else (None, None)
        return digest if digest is not None and self.wanted(digest) == served else None

    # --- attachments that came later

    def is_due(self, plan: ImagePlan, target: Location) -> bool:
        """Say whether it is time to compare the attachments of an image that a target serves with the source's.

        One of which nothing is known has its turn within the interval after it was first seen, each at another
        moment: a store that is new does not have all images looked at in one run.
        """
        recheck = self._rule.referrers.recheck
        for memory in self._of_plan(plan, target):
            name = str(plan.root.digest)
            if memory is None or memory.digest != plan.root.digest:
                continue  # it is seen for the first time
            heard = memory.referrers_at if memory.scope == self._scope else None
            if heard is not None:
                if not is_recent(heard, recheck, name, self.now):
                    return True
            elif memory.first_seen is not None and self.now >= memory.first_seen + recheck * share_of(name):
                return True
        return False

    def heard(self, plan: ImagePlan, target: Location) -> tuple[str, tuple[Digest, ...]]:
        """Return mark and subjects of an image's attachments when they were last compared; empty: not known."""
        found = {
            (memory.referrers_mark, memory.subjects)
            if memory is not None and memory.digest == plan.root.digest and memory.scope == self._scope
            else ("", ())
            for memory in self._of_plan(plan, target)
        }
        return found.pop() if len(found) == 1 else ("", ())

    def attached(self, plan: ImagePlan, target: Location) -> Proof:
        """Return the proof that a target lacked nothing of what the source had under attachment tags."""
        found = {
            (memory.attached_mark, memory.attached_at)
            if memory is not None and memory.digest == plan.root.digest and memory.scope == self._scope
            else ("", None)
            for memory in self._of_plan(plan, target)
        }
        mark, at = found.pop() if len(found) == 1 else ("", None)
        name = f"{target}@{plan.root.digest}"
        return Proof(mark=mark, is_recent=is_recent(at, self._rule.policy.target_recheck, name, self.now))

    # --- what this run finds out

    def take_plans(self, plans: Iterable[tuple[ImagePlan, Collection[Location]]]) -> None:
        """Keep what a look found; each plan comes with the targets that may lack attachments."""
        if not self.keeps:
            return
        changed: list[ImageMemory] = []
        for plan, late in plans:
            for target in plan.targets:
                for tag in target.tags:
                    key = self._key(tag.source_tag, target.target, tag.target_tag)
                    if tag.decision is Decision.SKIP:
                        self._gone.add(key)
                        continue
                    look = Look(
                        root=plan.root.digest,
                        wanted=plan.wanted.digest,
                        plan=tag,
                        scope=self._scope,
                        at=self.now,
                        late=target.target in late,
                    )
                    changed += self._put(key, after_look(self._images.get(key), key, look))
        self._keep(changed)

    def take_settled(self, results: Iterable[UnitResult]) -> None:
        """Keep what came of tags that could not be resolved; one that vanished is not kept."""
        if not self.keeps:
            return
        changed: list[ImageMemory] = []
        for result in results:
            if result.outcome is Outcome.SKIPPED:
                self._gone.update(self._keys(result))
                continue
            for key in self._keys(result):
                changed += self._put(key, after_failed_look(self._images.get(key), key, result, self.now))
        self._keep(changed)

    def close(self, *, complete: bool) -> None:
        """Forget images that vanished or are not wanted, and after a ``complete`` look those that it did not show."""
        gone = [key for key in self._images if key not in self._present and (complete or key in self._gone)]
        if gone:
            self._memory.drop_images(self._rule.name, self.source, gone)

    def take_result(self, result: UnitResult, at: datetime, heard: Heard | None = None) -> None:
        """Keep what came of an image that was to be written; ``heard``: with the attachments that were looked for."""
        if not self.keeps:
            return
        if result.created:
            self._memory.own(self._rule.name, result.target, result.created, at)
        changed: list[ImageMemory] = []
        for key in self._keys(result):
            if (old := self._images.get(key)) is None:
                continue
            new = after_unit(old, result, self._scope, at)
            if result.outcome is Outcome.COPIED and heard is not None:
                new = hearing(new, heard)
            changed += self._put(key, new)
        self._keep(changed)

    def take_lacking(self, plan: ImagePlan, target: Location, reason: str, at: datetime) -> None:
        """Keep that a target serves an image and lacks attachments, which are brought now."""
        self._keep([new for old in self._known(plan, target) for new in self._put(old.key, lacking(old, reason, at))])

    def take_heard(self, plan: ImagePlan, targets: Iterable[Location], heard: Heard) -> None:
        """Keep that targets lack nothing of what the source has attached to an image that they serve."""
        self._keep(
            [
                new
                for target in targets
                for old in self._known(plan, target)
                for new in self._put(old.key, hearing(in_sync(old, old.reason), heard))
            ]
        )

    def take_attached(self, plan: ImagePlan, targets: Iterable[Location], mark: str) -> None:
        """Keep that targets lack nothing of what the source has under attachment tags."""
        self._keep(
            [
                new
                for target in targets
                for old in self._known(plan, target)
                for new in self._put(old.key, attached(old, mark, self.now))
            ]
        )

    def _proof(self, target: Location, source_tag: Tag | None, target_tag: Tag | None) -> ImageMemory | None:
        if not self._proofs or isinstance(target, LayoutDirectory):
            return None
        key = self._key(source_tag, target, target_tag)
        proof = self._proofs.get((target, _name(key)))
        if proof is None or proof.scope != self._scope:
            return None
        if self.is_immutable(source_tag, target_tag) and proof.state is ImageState.IN_SYNC:
            return proof
        name = f"{target}:{_name(key)}"
        return proof if is_recent(proof.proven_at, self._rule.policy.target_recheck, name, self.now) else None

    def _of(self, tag: Tag) -> list[tuple[ImageKey, ImageMemory]]:
        """Return what is known of a tag's images, one a target; nothing where any of them is not known."""
        if not self._images:
            return []
        try:
            if self._locations is None:
                self._locations = [template.location(self.source) for template in self._rule.targets]
            names = [template.tag(tag, self.source) for template in self._rule.targets]
        except InvalidReferenceError:
            return []
        keys = [self._key(tag, location, name) for location, name in zip(self._locations, names, strict=True)]
        found = [(key, self._images[key]) for key in keys if key in self._images]
        return found if len(found) == len(keys) else []

    def _of_plan(self, plan: ImagePlan, target: Location) -> list[ImageMemory | None]:
        return [
            self._images.get(self._key(tag.source_tag, target, tag.target_tag))
            for planned in plan.targets
            if planned.target == target
            for tag in planned.tags
            if tag.decision is Decision.UP_TO_DATE
        ]

    def _known(self, plan: ImagePlan, target: Location) -> list[ImageMemory]:
        if not self.keeps:
            return []
        return [memory for memory in self._of_plan(plan, target) if memory is not None]

    def _keys(self, result: UnitResult) -> list[ImageKey]:
        return [self._key(source_tag, result.target, target_tag) for source_tag, target_tag in result.tags]

    def _key(self, source_tag: Tag | None, target: Location, target_tag: Tag | None) -> ImageKey:
        """Return the name of an image: by the source's tag, unless the rule names a digest."""
        ref = self._rule.source.digest or source_tag
        assert ref is not None
        return ImageKey(str(ref), target, str(target_tag or ""))

    def _put(self, key: ImageKey, new: ImageMemory) -> Sequence[ImageMemory]:
        """Take an image as it is now; return it if that is not what was kept before."""
        self._present.add(key)
        if self._images.get(key) == new:
            return ()
        self._images[key] = new
        return (new,)

    def _keep(self, images: Sequence[ImageMemory]) -> None:
        if images:
            self._memory.keep_images(self._rule.name, self.source, images)


def _name(key: ImageKey) -> str:
    """Return under which name the target has an image: without a tag, its digest."""
    return key.target_tag or key.ref


def _latest_proofs(images: Iterable[ImageMemory]) -> dict[tuple[Location, str], ImageMemory]:
    """Return the proofs by the target's names; where two source tags share one, the later proof counts."""
    found: dict[tuple[Location, str], ImageMemory] = {}
    for memory in images:
        if memory.proven_at is None or memory.served is None:
            continue
        name = (memory.key.target, _name(memory.key))
        known = found.get(name)
        if known is None or known.proven_at is None or known.proven_at < memory.proven_at:
            found[name] = memory
    return found


def _wanted_by_source(images: Iterable[ImageMemory], scope: str) -> dict[Digest, Digest]:
    """Return what became of each digest of the source by the platform filter; left out where memories contradict."""
    found: dict[Digest, set[Digest]] = {}
    for memory in images:
        shown = memory.state is ImageState.IN_SYNC and memory.scope == scope and memory.proven_at is not None
        if shown and memory.digest is not None and memory.served is not None:
            found.setdefault(memory.digest, set()).add(memory.served)
    return {digest: served.pop() for digest, served in found.items() if len(served) == 1}
