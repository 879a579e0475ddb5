"""What a provider can say about its registry; every member has a default that fits the specification.

A file overrides what is odd about its registry, as data before code. `catalog.py` holds the one list of providers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mirrord.errors import RegistryError
from mirrord.planning.listing import ListingTraits
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import CredentialProvider
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.scopes import Scopes

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a registry can do. None: not known beforehand, the client finds out by trying.

    ``chunked_only`` registries take no upload in one request; ``repositories`` says whether repositories can be listed
    by any means; ``metered`` whether every manifest that is fetched counts against a quota of pulls;
    ``tells_digest`` whether the answer to the HEAD of a tag names its digest: where not, the manifest is fetched at
    once; ``keeps_untagged`` whether a manifest stays when its last tag is deleted, ``deletes_digests`` whether it can
    be deleted by its digest; ``whole_only`` registries take no upload in chunks; at those with ``push_makes`` a missing
    repository is made by mirrord, or by the mere token for a push, before the first upload.
    """

    mount: bool = True
    chunked_only: bool = False
    referrers_api: bool | None = None
    repositories: bool = True
    metered: bool = False
    tells_digest: bool = True
    keeps_untagged: bool = True
    deletes_digests: bool = True
    whole_only: bool = False
    push_makes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults of a registry's limits, where the configuration says nothing.

    ``chunk_size`` in bytes is what an upload in chunks sends at a time. ``anonymous_requests_per_second`` stands in
    for ``requests_per_second`` where there is no credential; None: the same. ``longest_read`` is the most bytes of a
    blob that are asked for in one request, None: all.
    """

    concurrency: int = 16
    requests_per_second: float | None = None
    chunk_size: int = 32 * MIB
    longest_read: int | None = None
    anonymous_requests_per_second: float | None = None

    def pace(self, *, anonymous: bool) -> float | None:
        """Return the requests that may begin in a second; None for no limit."""
        return (anonymous and self.anonymous_requests_per_second) or self.requests_per_second


class Provider:
    """A kind of registry. Immutable, without I/O: what needs I/O is done by the service that it makes."""

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

    def token_scopes(self, scopes: Scopes) -> Scopes:
        """Return the scopes that this registry's token service understands, for those of the distribution project."""
        return scopes

    def credentials(
        self,
        host: str,  # noqa: ARG002 - overridden
        settings: RegistrySettings,  # noqa: ARG002 - overridden
        environment: Mapping[str, str],  # noqa: ARG002 - overridden
        clock: Clock,  # noqa: ARG002 - overridden
    ) -> CredentialProvider | None:
        """Return the registry's native source of credentials for ``host``; None where there is none.

        It is asked after the registry's entry in the configuration and before docker's files. Where it cannot be used
        at all (no SDK, nobody logged in) it raises `CredentialUnavailableError`; where it is configured and fails, any
        other `CredentialError`, which ends the search.
        """
        return None

    def is_expired(self, error: RegistryError) -> bool:
        """Say whether a refusal means that the credential has ended, so that a fresh one may work."""
        return error.code == "AUTH_EXPIRED"

    def service(self, api: Api) -> RegistryService:
        """Return what lists, creates and deletes at one registry."""
        return RegistryService(api)
