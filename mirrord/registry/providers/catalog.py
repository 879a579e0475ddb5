"""The one list of providers. The first that matches a host wins; generic is last and takes all."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from mirrord.errors import UsageError
from mirrord.registry.providers.acr import AcrProvider
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.dockerhub import DockerHubProvider
from mirrord.registry.providers.ecr import EcrProvider, EcrPublicProvider
from mirrord.registry.providers.generic import GenericProvider
from mirrord.registry.providers.ghcr import GhcrProvider
from mirrord.registry.providers.gitlab import GitlabProvider
from mirrord.registry.providers.google import GoogleProvider
from mirrord.registry.providers.harbor import HarborProvider
from mirrord.registry.providers.quay import QuayProvider
from mirrord.registry.providers.zot import ZotProvider

ENTRY_POINT_GROUP = "mirrord.providers"


def known_providers() -> tuple[Provider, ...]:
    """Return the providers in the order in which they are asked, those of other packages first."""
    outside = tuple(_load(entry_point) for entry_point in entry_points(group=ENTRY_POINT_GROUP))
    return (
        *outside,
        DockerHubProvider(),
        EcrProvider(),
        EcrPublicProvider(),
        GhcrProvider(),
        GoogleProvider(),
        AcrProvider(),
        QuayProvider(),
        GitlabProvider(),
        HarborProvider(),
        ZotProvider(),
        GenericProvider(),
    )


def choose_provider(host: str, name: str | None, providers: tuple[Provider, ...]) -> Provider:
    """Return the provider called ``name``, or where that is None the first that matches ``host``.

    Raises:
        UsageError: there is no provider of that name in this version.
    """
    if name is None:
        return next(provider for provider in providers if provider.matches(host))
    for provider in providers:
        if provider.name == name:
            return provider
    known = ", ".join(sorted(provider.name for provider in providers))
    raise UsageError(
        f'registries."{host}".provider: "{name}" is not available in this version', remedy=f"known providers: {known}"
    )


def _load(entry_point: EntryPoint) -> Provider:
    provider = entry_point.load()()
    assert isinstance(provider, Provider)
    return provider
