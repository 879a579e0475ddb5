"""What a provider can say about its registry; every member has a default that fits the specification.

A file overrides what is odd about its registry, as data before code. `catalog.py` holds the one list of providers.
"""

from __future__ import annotations

from dataclasses import dataclass

from mirrord.planning.listing import ListingTraits

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a registry can do. None: not known beforehand, the client finds out by trying.

    ``chunked_only`` registries take no upload in one request; ``catalog`` says whether `_catalog` lists anything.
    """

    mount: bool = True
    chunked_only: bool = False
    referrers_api: bool | None = None
    catalog: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults of a registry's limits, where the configuration says nothing.

    ``chunk_size`` in bytes is what an upload in chunks sends at a time.
    """

    concurrency: int = 16
    requests_per_second: float | None = None
    chunk_size: int = 32 * MIB


class Provider:
    """A kind of registry. Immutable, without I/O; what needs I/O is done by the client along this data."""

    name: str = "generic"
    abilities: Abilities = Abilities()
    limits: Limits = Limits()
    listing: ListingTraits = ListingTraits()

    def matches(self, host: str) -> bool:  # noqa: ARG002 - overridden
        """Say whether ``host`` is of this kind, by its name alone."""
        return False

    def endpoint(self, host: str) -> str:
        """Return the ``host[:port]`` that is dialled for the registry that users call ``host``."""
        return host

    def auth_hosts(self, host: str) -> tuple[str, ...]:  # noqa: ARG002 - overridden
        """Return further hosts whose token service may see this registry's credential."""
        return ()

    def explain_catalog(self, host: str) -> str:  # noqa: ARG002 - overridden
        """Return what to do instead where a registry lists no repositories."""
        return "list the repositories one by one in the rules"
