"""What the targets of one blob answer to the question whether they need it, and until when they are waited for."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from mirrord.ports.registry import RepositoryWriter

PATIENCE_S = 1.0
"""How long the targets that need a blob wait for the others' answers, and for a place."""


class Asked:
    """The answers of the targets of one blob, and the moment when the reading begins without the late ones.

    ``late`` are hosts that did not answer in time before, for whichever blob of the run: nobody waits for them until
    they have answered.
    """

    def __init__(self, targets: Sequence[RepositoryWriter], late: set[str]) -> None:
        """Wait for the answers of ``targets``; those that were ``late`` before are not waited for."""
        self.needy: list[RepositoryWriter] = []
        self._missing = {target.location.host for target in targets}
        self._late = late
        self._begun = False
        self._news = anyio.Event()

    def answer(self, target: RepositoryWriter, *, needy: bool) -> bool:
        """Count one answer; say whether the target is in time (or needs nothing)."""
        self._missing.discard(target.location.host)
        self._late.discard(target.location.host)
        in_time = not needy or not self._begun
        if needy and in_time:
            self.needy.append(target)
        self._news.set()
        return in_time

    async def most_answered(self) -> None:
        """Return when all have answered, or after a while if any needs the bytes; later ones are late."""
        with anyio.move_on_after(PATIENCE_S):
            while self._missing - self._late:
                await self._next()
        self._late |= self._missing
        while self._missing and not self.needy:
            await self._next()
        self._begun = True

    async def _next(self) -> None:
        self._news = anyio.Event()
        await self._news.wait()
