"""zot."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class ZotProvider(Provider):
    """zot."""

    name = "zot"

    def matches(self, host: str) -> bool:  # noqa: ARG002 - never told by its host
        """Match no host: a zot has a name of its own, and is named in the configuration."""
        return False
