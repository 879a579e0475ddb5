"""What runs are carried out with, for as long as one configuration is in force."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink
from mirrord.ports.memory import Memory
from mirrord.ports.registry import RegistryGateway, Slots
from mirrord.sync.context import Context
from mirrord.transfer.executor import Executor

SHARE_S = 5.0
"""Runs that begin so close to each other share what they learn of blobs: rules that wake together often share layers.

What an executor knows ages: it does not ask twice for a blob that failed, nor for one that a target held.
"""


@dataclass(slots=True)
class _Shared:
    """The executor of runs that began together, and when the first of them did, in monotonic seconds."""

    executor: Executor
    since: float


@dataclass(slots=True, kw_only=True)
class Engine:
    """Makes what one run works with.

    ``make_executor`` makes a new executor, which knows nothing. ``ask_anew`` has registries asked as if for the
    first time: their credentials are read anew, and that one could not be reached is forgotten.
    """

    gateway: RegistryGateway
    slots: Slots
    clock: Clock
    events: EventSink
    memory: Memory
    make_executor: Callable[[], Executor]
    ask_anew: Callable[[Collection[str]], None] = lambda _hosts: None
    _shared: _Shared | None = field(default=None, init=False)

    def context(self) -> Context:
        """Return a context that remembers nothing of other runs but what the memory tells."""
        return Context(gateway=self.gateway, slots=self.slots, clock=self.clock, events=self.events, memory=self.memory)

    def executor(self, *, alone: bool = False) -> Executor:
        """Return an executor, shared with runs that begin within a few seconds.

        Args:
            alone: a new one: whoever asks for a run by hand wants all of it tried anew.
        """
        now = self.clock.monotonic()
        if alone:
            return self.make_executor()
        if self._shared is None or now - self._shared.since > SHARE_S:
            self._shared = _Shared(self.make_executor(), now)
        return self._shared.executor

    def forget(self) -> None:
        """Let go of what the last runs learned: none is going on."""
        self._shared = None
