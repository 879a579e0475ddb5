"""Amazon Elastic Container Registry, private and public.

Sources: AWS ECR user guide (registries, service quotas, blob mounting, image tag mutability), ECR Public service
quotas; aws/containers-roadmap #1931 (no digest header), #2831 (a Range that stands still).
"""

from __future__ import annotations

from collections.abc import Mapping

from mirrord.errors import RegistryError
from mirrord.planning.listing import ListingTraits
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import CredentialProvider
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.base import MIB, Abilities, Limits, Provider
from mirrord.registry.providers.ecr_api import EcrApi
from mirrord.registry.providers.ecr_credentials import EcrCredentials, EcrPublicCredentials
from mirrord.registry.providers.ecr_place import PUBLIC_HOST, PUBLIC_PLACE, EcrPlace
from mirrord.registry.providers.ecr_service import PAGE_SIZE, EcrPublicService, EcrService
from mirrord.registry.providers.service import Api, RegistryService


class EcrProvider(Provider):
    """A private registry: one for each account and region.

    A part of an upload has 5 MiB at least and 10 MiB at most, 4,200 of them make a layer; such uploads are begun only
    where one request was refused. Many uploads at once are said to be cut off, therefore few run at a time.

    It keeps the sources of tokens, so that all names of one account and region share a token.
    """

    name = "ecr"
    abilities = Abilities(tells_digest=False, keeps_untagged=False, push_makes=True)
    limits = Limits(concurrency=8, chunk_size=10 * MIB)
    listing = ListingTraits(page_size=PAGE_SIZE, has_digests=True)

    def __init__(self) -> None:
        """Know no registry yet."""
        self._apis: dict[EcrPlace, EcrApi] = {}
        self._sources: dict[tuple[str, str, bool], EcrCredentials] = {}

    def matches(self, host: str) -> bool:
        """Match the hosts of private registries in every partition."""
        return EcrPlace.of(host) is not None

    def credentials(
        self,
        host: str,
        settings: RegistrySettings,
        environment: Mapping[str, str],  # noqa: ARG002 - boto3 looks at the process's own
        clock: Clock,
    ) -> CredentialProvider:
        """Return the source of tokens of AWS; the names of one account and region share it.

        A name of one's own before ECR (``provider: ecr``) gets tokens of the caller's account and region.
        """
        place = EcrPlace.of(host) or EcrPlace()
        key = (place.account, place.region, place.fips)
        if key not in self._sources:
            self._sources[key] = EcrCredentials(self._api(place, settings, clock), clock)
        return self._sources[key]

    def is_expired(self, error: RegistryError) -> bool:
        """Also take a bare 403 to a HEAD for an ended token: it has no body that would say so."""
        return super().is_expired(error) or (error.method == "HEAD" and error.status == 403)  # noqa: PLR2004 - Forbidden

    def service(self, api: Api) -> RegistryService:
        """Return what lists, creates and deletes by the API of AWS."""
        return EcrService(api, self._api(EcrPlace.of(api.host) or EcrPlace(), api.settings, api.clock))

    def _api(self, place: EcrPlace, settings: RegistrySettings, clock: Clock) -> EcrApi:
        if place not in self._apis:
            self._apis[place] = EcrApi(place, clock, proxy=settings.proxy)
        return self._apis[place]


class EcrPublicProvider(Provider):
    """public.ecr.aws: everybody may pull, slowly; tokens of AWS make it faster."""

    name = "ecr-public"
    abilities = Abilities(repositories=False)
    limits = Limits(concurrency=8, chunk_size=10 * MIB, requests_per_second=10.0, anonymous_requests_per_second=1.0)
    listing = ListingTraits(page_size=PAGE_SIZE)

    def matches(self, host: str) -> bool:
        """Match the one host."""
        return host == PUBLIC_HOST

    def explain_catalog(self, host: str) -> str:  # noqa: ARG002 - one registry
        """Say that there is no list of everybody's repositories."""
        return "ECR Public tells only its owner what a registry holds; name the repositories in the rules"

    def credentials(
        self,
        host: str,  # noqa: ARG002 - one registry
        settings: RegistrySettings,
        environment: Mapping[str, str],  # noqa: ARG002 - boto3 looks at the process's own
        clock: Clock,
    ) -> CredentialProvider:
        """Return the source of tokens of AWS."""
        return EcrPublicCredentials(EcrApi(PUBLIC_PLACE, clock, proxy=settings.proxy), clock)

    def service(self, api: Api) -> RegistryService:
        """Return what follows the specification, and deletes nothing."""
        return EcrPublicService(api)
