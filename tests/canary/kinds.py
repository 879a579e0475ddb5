"""The kinds of registries that mirrord knows, each with the table of who may see its password and its tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.fakes.profiles import Auth, Blobs, Names, Profile
from tests.fakes.registries import acr, ecr, google
from tests.fakes.registries.acr import ACR, NAMES_ACR
from tests.fakes.registries.distribution import DISTRIBUTION, NAMES_DISTRIBUTION
from tests.fakes.registries.dockerhub import DOCKERHUB, NAMES_DOCKERHUB
from tests.fakes.registries.ecr import ECR, ECR_PUBLIC, NAMES_ECR, NAMES_ECR_PUBLIC
from tests.fakes.registries.ghcr import GHCR, NAMES_GHCR
from tests.fakes.registries.gitlab import GITLAB, NAMES_GITLAB
from tests.fakes.registries.google import GOOGLE, NAMES_GOOGLE
from tests.fakes.registries.harbor import HARBOR, NAMES_HARBOR
from tests.fakes.registries.quay import NAMES_QUAY, OAUTH_USER, QUAY
from tests.fakes.registries.zot import NAMES_ZOT, ZOT


def origins(*names: str) -> frozenset[str]:
    """Return the origins of names, over TLS."""
    return frozenset(f"https://{name}" for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of registry. ``password`` are the origins that may see its password, ``tokens`` those for its tokens.

    ``identity`` says whose identity mirrord has there, in place of a password: that of a cloud, by one of its ways.
    """

    name: str
    host: str
    profile: Profile
    names: Names
    password: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    user: str = ""
    provider: str | None = None
    identity: str = ""
    path: str = "acme/app"
    target: str = "acme/mirrored"

    @property
    def is_bearer(self) -> bool:
        """Whether it gives tokens."""
        return self.profile.auth.scheme == "bearer"


KINDS = [
    Kind(
        name="generic",
        host="registry.test",
        profile=replace(DISTRIBUTION, auth=Auth(scheme="bearer", service="registry.test"), blobs=Blobs(redirect=307)),
        names=NAMES_DISTRIBUTION,
        password=origins("tokens.registry.test"),
        tokens=origins("registry.test"),
    ),
    Kind(
        name="dockerhub",
        host="docker.io",
        profile=DOCKERHUB,
        names=NAMES_DOCKERHUB,
        password=origins("auth.docker.io", "hub.docker.com"),
        tokens=origins("registry-1.docker.io"),
    ),
    Kind(name="ecr", host=ecr.HOST, profile=ECR, names=NAMES_ECR, tokens=origins(ecr.HOST), identity="aws"),
    Kind(
        name="ecr-public",
        host=ecr.PUBLIC_HOST,
        profile=ECR_PUBLIC,
        names=NAMES_ECR_PUBLIC,
        password=origins(ecr.PUBLIC_HOST),
        tokens=origins(ecr.PUBLIC_HOST),
        identity="aws",
    ),
    Kind(
        name="ghcr",
        host="ghcr.io",
        profile=GHCR,
        names=NAMES_GHCR,
        password=origins("ghcr.io", "api.github.com"),
        tokens=origins("ghcr.io"),
    ),
    Kind(
        name="gitlab",
        host="registry.gitlab.com",
        profile=GITLAB,
        names=NAMES_GITLAB,
        password=origins("gitlab.com"),
        tokens=origins("registry.gitlab.com"),
    ),
    Kind(
        name="gitlab-job",
        host="registry.gitlab.com",
        profile=GITLAB,
        names=NAMES_GITLAB,
        user="gitlab-ci-token",
        password=origins("gitlab.com"),
        tokens=origins("registry.gitlab.com"),
    ),
    *(
        Kind(
            name=f"google-{identity}",
            host=google.HOST,
            profile=GOOGLE,
            names=NAMES_GOOGLE,
            tokens=origins(google.HOST),
            identity=f"google-{identity}",
            path="acme-prod/images/app",
            target="acme-prod/mirror/app",
        )
        for identity in ("machine", "key", "workload")
    ),
    *(
        Kind(
            name=f"acr-{identity}",
            host=acr.HOST,
            profile=ACR,
            names=NAMES_ACR,
            tokens=origins(acr.HOST),
            identity=f"acr-{identity}",
        )
        for identity in ("application", "workload", "machine", "app-service")
    ),
    Kind(
        name="harbor",
        host="harbor.test",
        profile=replace(HARBOR, blobs=Blobs(redirect=307)),
        names=NAMES_HARBOR,
        provider="harbor",
        password=origins("harbor.test"),
        tokens=origins("harbor.test"),
    ),
    Kind(
        name="quay",
        host="quay.io",
        profile=QUAY,
        names=NAMES_QUAY,
        user=OAUTH_USER,
        password=origins("quay.io"),
        tokens=origins("quay.io"),
    ),
    Kind(
        name="zot",
        host="zot.test",
        profile=ZOT,
        names=NAMES_ZOT,
        provider="zot",
        password=origins("zot.test"),
    ),
]


def at_home(kind: Kind) -> tuple[str, str]:
    """Return origins that look like the registry's own, and are none of those that it uses."""
    return f"http://{kind.names.registry}", f"https://sibling.{kind.names.registry}"
