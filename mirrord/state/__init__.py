"""The state store: what is remembered from run to run, in a file of SQLite."""

from mirrord.state.reading import open_memory
from mirrord.state.store import SqlState, open_state

__all__ = ["SqlState", "open_memory", "open_state"]
