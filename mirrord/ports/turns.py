"""For whom something is done: those who wait for the same thing take turns by that, so that none waits out another."""

from __future__ import annotations

from contextvars import ContextVar

ON_BEHALF_OF: ContextVar[str] = ContextVar("mirrord_on_behalf_of", default="")
"""The run that a task belongs to; empty where nobody is told apart."""
