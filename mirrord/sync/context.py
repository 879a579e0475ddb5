"""What every use case works with, and the names of its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from mirrord.ports.clock import Clock
from mirrord.ports.events import EventSink
from mirrord.ports.memory import Memory, NoMemory
from mirrord.ports.registry import RegistryGateway, Slots
from mirrord.sync.hints import Hints
from mirrord.sync.listing import Listings
from mirrord.sync.resolving import Resolutions

LOOKS_AT_ONCE = 64
"""Tags looked at side by side; how many requests that makes is decided by each registry's places."""

COPIES_AT_ONCE = 24
"""Images copied side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The outside world of one run, and what the run remembers of its sources and targets."""

    gateway: RegistryGateway
    slots: Slots
    clock: Clock
    events: EventSink
    listings: Listings = field(default_factory=Listings)
    resolutions: Resolutions = field(default_factory=Resolutions)
    hints: Hints = field(default_factory=Hints)
    memory: Memory = field(default_factory=NoMemory)
