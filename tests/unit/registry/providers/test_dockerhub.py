"""What is said of Docker Hub without asking it."""

from __future__ import annotations

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, parse_host
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.dockerhub import DockerHubProvider, repository_path

DIGEST = Digest.of(b"image")


@pytest.mark.parametrize(
    "name", ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "DOCKER.IO"]
)
def test_all_names_of_docker_hub_mean_one_registry(name: str) -> None:
    provider = choose_provider(parse_host(name), None, known_providers())

    assert isinstance(provider, DockerHubProvider)
    assert provider.endpoint(parse_host(name)) == "registry-1.docker.io"
    assert provider.auth_hosts(parse_host(name)) == ("auth.docker.io",)


@pytest.mark.parametrize("name", ["docker.io.evil.test", "hub.docker.com", "ghcr.io", "localhost:5000"])
def test_other_registries_are_not_docker_hub(name: str) -> None:
    assert not DockerHubProvider().matches(name)


def test_docker_hub_counts_pulls_and_tells_digests_but_no_times() -> None:
    provider = DockerHubProvider()

    assert provider.abilities.metered
    assert provider.abilities.repositories
    assert (provider.listing.page_size, provider.listing.has_digests, provider.listing.has_times) == (100, True, False)


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"name": "app", "repository_type": "image"}, "acme/app"),
        ({"name": "app", "repository_type": None}, "acme/app"),
        ({"name": "app"}, "acme/app"),
        ({"name": "app", "repository_type": "plugin"}, None),
        ({"name": "../app"}, None),
        ({"name": ""}, None),
        ({"name": None}, None),
    ],
)
def test_row_of_a_namespace_is_a_repository_or_nothing(row: dict[str, object], path: str | None) -> None:
    assert repository_path("acme", row) == path
    assert path is None or Repository.parse(f"docker.io/{path}").path == path
