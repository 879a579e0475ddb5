"""One image on its way to one target: which blobs are still missing there, and the manifests and tags at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import anyio

from mirrord.errors import MirrordError, MissingContentError, PolicyRefusedError, TransferError, UnsupportedError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest
from mirrord.oci.reference import Tag
from mirrord.planning.graph import ImageGraph
from mirrord.planning.plan import TagPlan
from mirrord.planning.report import BlobOutcome, BlobTally, Outcome, Problem, UnitResult
from mirrord.ports.events import IntegrityFailed
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.job import CopyJob, Order, movable
from mirrord.transfer.once import KeyedOnce
from mirrord.transfer.side import each

TAGS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the units of a run share: the mover of blobs, and which manifests were put where."""

    mover: BlobMover
    manifests: KeyedOnce = field(default_factory=KeyedOnce)


class Unit:
    """Brings one image to one target, content first, the tags last."""

    def __init__(
        self, *, job: CopyJob, order: Order, source: RepositoryReader, writer: RepositoryWriter, tools: Tools
    ) -> None:
        """Make a unit; nothing is asked yet."""
        self.writer = writer
        self.failure: Exception | None = None
        self._job = job
        self._order = order
        self._source = source
        self._tools = tools
        self._missing = {blob.digest for blob in job.blobs(order)}
        self._blobs_settled = anyio.Event()
        self._tally = BlobTally()
        self._referrers = 0
        self._written: list[TagPlan] = []

    @property
    def is_open(self) -> bool:
        """Whether some blobs have not been settled, which after a failure they need not be."""
        return bool(self._missing)

    def needs(self, blob: Descriptor) -> bool:
        """Say whether the target still needs ``blob``; one that failed needs nothing any more."""
        return self.failure is None and blob.digest in self._missing

    def note(self, blob: Descriptor, outcome: BlobOutcome | Exception) -> None:
        """Take note of how a blob stands on the target."""
        self._missing.discard(blob.digest)
        if isinstance(outcome, BlobOutcome):
            self._tally += BlobTally(**{outcome.value: (1, blob.size)})
        elif self.failure is None:
            self.failure = outcome
        if not self._missing or self.failure is not None:
            self._blobs_settled.set()

    async def finish(self) -> None:
        """Wait for the blobs, then put manifests, attachments and tags. Keeps its failure to itself."""
        try:
            if self._missing:
                await self._blobs_settled.wait()
            if self.failure is None:
                await self._tools.mover.prepare(self.writer)  # for what brings no blob; else it is done
                await self._put_everything()
        except Exception as exc:  # noqa: BLE001 - one target's failure is not the others'
            self.failure = exc

    def results(self, seconds: float) -> list[UnitResult]:
        """Return what came of the tags: those that were written, and those that a failure left behind."""
        done = {(tag.source_tag, tag.target_tag) for tag in self._written}
        written = [tag for tag in self._order.target.changes if (tag.source_tag, tag.target_tag) in done]
        left = [tag for tag in self._order.target.changes if (tag.source_tag, tag.target_tag) not in done]
        results = []
        if written or not left:
            results.append(self._result(written or list(self._order.target.changes), None, seconds))
        if left and self.failure is not None:
            self._tally = BlobTally() if results else self._tally  # bytes count once
            results.append(self._result(left, self.failure, seconds))
        return results

    def _result(self, tags: list[TagPlan], failure: Exception | None, seconds: float) -> UnitResult:
        refused = isinstance(failure, PolicyRefusedError)
        job = self._job
        return UnitResult(
            rule=self._order.rule,
            source=job.source,
            target=self.writer.location,
            tags=tuple((tag.source_tag, tag.target_tag) for tag in tags),
            outcome=Outcome.COPIED if failure is None else Outcome.BLOCKED if refused else Outcome.FAILED,
            reason=tags[0].reason if failure is None else str(failure),
            digest=job.root.digest,
            served=job.graph.root.descriptor.digest,
            problem=describe(failure) if failure is not None else None,
            blobs=self._tally,
            referrers=self._referrers,
            created=tuple(
                tag.target_tag for tag in tags if failure is None and tag.before is None and tag.target_tag is not None
            ),
            seconds=seconds,
        )

    async def _put_everything(self) -> None:
        job, complete = self._job, self._order.serves_root
        tags = [tag for tag in self._order.target.changes if tag.target_tag is not None]
        if not complete:
            await self._put_graph(job.graph, with_root=bool(job.attachments) or not tags)
        for attachment in job.attachments:
            await self._put_graph(attachment.graph, with_root=attachment.tag is None)
            if attachment.tag is not None:
                await self._check_moving(attachment.tag, attachment.tag, attachment.graph.root.descriptor.digest)
                await self._put_healing(attachment.graph, attachment.graph.root, attachment.tag)
            self._referrers += 1
        if not complete:
            for tag in tags[:1]:  # the first brings the manifest, the others only point to it
                await self._put_tag(tag)
            await each(tags[1:], self._put_tag, TAGS_AT_ONCE)
        self._written = list(self._order.target.changes)

    async def _put_graph(self, graph: ImageGraph, *, with_root: bool) -> None:
        """Put a graph's manifests by digest, children before parents, each once a run and repository."""
        for manifest in graph.manifests if with_root else graph.manifests[:-1]:
            key = (self.writer.location, manifest.descriptor.digest)
            await self._tools.manifests.run(key, partial(self._put_healing, graph, manifest, None))

    async def _put_tag(self, tag: TagPlan) -> None:
        """Move one tag, and see that the target serves what was put."""
        assert tag.target_tag is not None
        digest = self._job.graph.root.descriptor.digest
        name = f"{self.writer.location}:{tag.target_tag}"
        await self._check_moving(tag.source_tag, tag.target_tag, digest)
        await self._put_healing(self._job.graph, self._job.graph.root, tag.target_tag)
        served = await self.writer.head(tag.target_tag)
        if served is None or served.digest != digest:
            self._tools.mover.events.emit(IntegrityFailed(host=self.writer.location.host, reason="read_back"))
            raise TransferError(
                f"{name} was put as {digest}, but the target serves {served.digest if served else 'nothing'}",
                code="TARGET_CHANGED_CONCURRENTLY",
                side="target",
                operation="read back",
                remedy="something else writes this tag; see that only one mirror does",
            )
        self._written.append(tag)

    async def _check_moving(self, source_tag: Tag | None, target_tag: Tag, digest: Digest) -> None:
        """See that a tag which must not move is still free, or points to ``digest`` already."""
        policy = self._order.policy
        if not policy.forbids_moving(source_tag, target_tag):
            return
        now = await self.writer.head(target_tag)
        if now is not None and now.digest != digest:
            immutable = policy.is_immutable(source_tag, target_tag)
            raise PolicyRefusedError(
                f"{self.writer.location}:{target_tag} came to be {now.digest} meanwhile, and the rule does not move it",
                code="TAG_IMMUTABLE" if immutable else "OVERWRITE_FORBIDDEN",
            )

    async def _put_healing(self, graph: ImageGraph, manifest: AnyManifest, tag: Tag | None) -> None:
        """Put a manifest; where the target lacks content after all, send that once more and try again.

        Existing is not complete: a blob may have been collected since it was seen, a child may lack its own content.
        """
        try:
            await self.writer.put_manifest(manifest, tag, absent=graph.absent)
        except MissingContentError as exc:
            if graph.absent and manifest is graph.root:
                raise UnsupportedError(
                    f"{self.writer.location} does not take an index whose children are missing",
                    code="SPARSE_INDEX_REFUSED",
                    remedy="use index: rewrite for this rule",
                ) from exc
            await self._send_again(graph, manifest)
            await self.writer.put_manifest(manifest, tag)

    async def _send_again(self, graph: ImageGraph, parent: AnyManifest) -> None:
        """Send what is below ``parent`` once more, whatever the target says that it holds."""
        below = self._below(graph, parent)
        for manifest in below:
            for blob in manifest.blobs():
                if blob in movable(graph, self._order.policy):
                    await self._send_blob_again(blob)
            if manifest is not parent:
                await self.writer.put_manifest(manifest)

    @staticmethod
    def _below(graph: ImageGraph, parent: AnyManifest) -> list[AnyManifest]:
        known = {manifest.descriptor.digest: manifest for manifest in graph.manifests}
        wanted: set[Digest] = {parent.descriptor.digest}
        for manifest in reversed(graph.manifests):
            if manifest.descriptor.digest in wanted:
                wanted.update(child.digest for child in manifest.children() if child.digest in known)
        return [manifest for manifest in graph.manifests if manifest.descriptor.digest in wanted]

    async def _send_blob_again(self, blob: Descriptor) -> None:
        ends: list[BlobOutcome | Exception] = []
        await self._tools.mover.deliver(
            blob, self._source, [self.writer], settle=lambda _location, end: ends.append(end), force=True
        )
        for end in ends:
            if isinstance(end, Exception):
                raise end


def describe(error: Exception) -> Problem:
    """Return an error as a report shows it."""
    if isinstance(error, MirrordError):
        return Problem(code=error.code, message=error.message, remedy=error.remedy)
    return Problem(
        code="INTERNAL_ERROR",
        message=f"{type(error).__name__}: {error}",
        remedy="this is a fault of mirrord; please report it with the log",
    )
