"""Any registry that follows the distribution specification: distribution, nginx before it, and whatever is unknown."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class GenericProvider(Provider):
    """A registry about which nothing is known beforehand."""

    name = "generic"

    def matches(self, host: str) -> bool:  # noqa: ARG002 - takes whatever no other provider took
        """Match every host; the catalog asks this provider last."""
        return True
