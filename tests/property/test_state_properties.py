"""What is kept is what is read back, whatever it is, in whatever order it is kept and dropped."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Repository
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState, SeenDigest
from mirrord.planning.report import Problem
from mirrord.planning.status import Cause, Change, ProblemStatus, RunResult, RunStatus
from mirrord.ports.memory import Memory
from tests.fakes.remembering import RememberingMemory
from tests.fakes.states import opened

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.integers(0, 2**62)
moments = st.datetimes(timezones=st.just(UTC))
LOCATIONS: list[Location] = [
    Repository("docker.io", "library/app"),
    Repository("localhost", "app"),
    Repository("[::1]:5000", "a/b.c_d-e"),
    Repository("registry", "app"),
    LayoutDirectory("/some where/ünd:so"),
]
REFS = ["1.0", "latest", str(Digest.of(b"0"))]
DIGESTS = [*(Digest.of(b"%d" % n) for n in range(4)), Digest.of(b"long", "sha512")]
RULES = ["rule", "other", "rule'; DROP TABLE images; --"]
digests = st.sampled_from(DIGESTS)
locations = st.sampled_from(LOCATIONS)
refs = st.sampled_from(REFS)
keys = st.builds(ImageKey, refs, locations, st.sampled_from(["", "1.0", "v1.0"]))
problems = st.builds(Problem, code=texts.filter(bool), message=texts, remedy=texts)
images = st.builds(
    ImageMemory,
    key=keys,
    state=st.sampled_from(ImageState),
    digest=st.none() | digests,
    reason=texts,
    problem=st.none() | problems,
    first_seen=st.none() | moments,
    behind_since=st.none() | moments,
    served=st.none() | digests,
    proven_at=st.none() | moments,
    scope=texts,
    referrers_at=st.none() | moments,
    referrers_mark=texts,
    subjects=st.lists(digests, max_size=3).map(tuple),
    attached_mark=texts,
    attached_at=st.none() | moments,
)
rules = st.sampled_from(RULES)
steps = st.one_of(
    st.tuples(st.just("keep_images"), rules, locations, st.lists(images, max_size=4)),
    st.tuples(st.just("drop_images"), rules, locations, st.lists(keys, max_size=3)),
    st.tuples(st.just("drop_sources"), rules, st.lists(locations, max_size=3)),
    st.tuples(
        st.just("keep_seen"),
        locations,
        st.lists(st.builds(SeenDigest, tag=refs, digest=digests, first_seen=moments), max_size=3),
    ),
    st.tuples(st.just("keep_created"), digests, st.none() | moments),
    st.tuples(st.just("flush")),
)
statuses = st.builds(ProblemStatus, code=texts, message=texts, remedy=texts, at=st.none() | moments)
runs = st.builds(
    RunStatus,
    id=st.just("run-1"),
    rule=texts,
    cause=st.sampled_from(Cause),
    started=moments,
    finished=moments,
    result=st.sampled_from(RunResult),
    listed=numbers,
    outcomes=st.dictionaries(texts, numbers, max_size=3),
    lag_seconds=st.floats(0, 1e12),
    problems=st.lists(statuses, max_size=2).map(tuple),
    warnings=st.lists(texts, max_size=2).map(tuple),
    changes=st.lists(
        st.builds(
            Change,
            source=texts,
            target=texts,
            tags=st.lists(texts, max_size=2).map(tuple),
            outcome=texts,
            problem=st.none() | statuses,
        ),
        max_size=3,
    ).map(tuple),
)


async def known(memory: Memory) -> object:
    """Return all that a memory knows of what the steps above are about."""
    every = [(rule, source) for rule in RULES for source in LOCATIONS]
    seen = {source: await memory.seen(source, REFS) for source in LOCATIONS}
    return (
        {place: dict(found) for place in every if (found := await memory.images(*place))},
        {(s, tag): {(one.digest, one.first_seen) for one in f} for s, tags in seen.items() for tag, f in tags.items()},
        dict(await memory.created(DIGESTS)),
    )


async def take(memory: Memory, step: tuple[object, ...]) -> None:
    name, *arguments = step
    done = getattr(memory, str(name))(*arguments)
    if done is not None:
        await done


@settings(max_examples=25)
@given(st.lists(steps, max_size=12), st.integers(0, 12))
def test_store_knows_what_a_memory_of_dictionaries_knows(every: list[tuple[object, ...]], restart: int) -> None:
    """Also where it is closed and opened again in between."""

    async def work() -> None:
        plain = RememberingMemory()
        with tempfile.TemporaryDirectory() as directory:
            for part in (every[:restart], every[restart:]):
                async with opened(Path(directory)) as state:
                    for step in part:
                        await take(plain, step)
                        await take(state.memory, step)

                    assert await known(state.memory) == await known(plain)

    anyio.run(work)


@settings(max_examples=25)
@given(runs)
def test_run_that_is_kept_is_read_back(run: RunStatus) -> None:
    async def work() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with opened(Path(directory)) as state:
                await state.history.save_run(run, looked=True)

                assert await state.history.run("run-1") == run
                (listed,) = (await state.history.runs()).runs
                assert listed == replace(run, changes=(), changes_left_out=len(run.changes))
                assert (await state.history.saved(datetime.min.replace(tzinfo=UTC))).wanted_bytes == 0

    anyio.run(work)
