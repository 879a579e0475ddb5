"""What the user set for one registry, as plain values: `mirrord.config` makes them, `mirrord.registry` acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

ENVIRONMENT_PROXY = "environment"


@dataclass(frozen=True, slots=True)
class EnvSecret:
    """A secret that stands in the environment variable ``name``."""

    name: str


@dataclass(frozen=True, slots=True)
class FileSecret:
    """A secret that is the content of a file, less one newline at its end. ``path`` is absolute."""

    path: str


@dataclass(frozen=True, slots=True)
class CommandSecret:
    """A secret that a program prints. ``argv`` goes to the system as it stands, to no shell.

    ``directory`` is where the program runs: relative parts of ``argv`` are found from there.
    """

    argv: tuple[str, ...]
    directory: str = "."


Secret = EnvSecret | FileSecret | CommandSecret
"""Where a secret is to be found. None of these holds the secret itself, so all of them may be shown."""


class SecretReader(Protocol):
    """Fetches a secret when it is needed, so that a rotated one is used without a restart."""

    async def __call__(self, secret: Secret) -> str:
        """Return the secret.

        Raises:
            CredentialError: it is missing, empty, unreadable or too large; the message never shows its content.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """How a registry proves who it is, and mirrord to it. Paths are absolute; None means the system's defaults."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Everything that can be set for one registry; the defaults are those of a host without an entry.

    Attributes:
        host: the registry in its normal form, ``docker.io`` or ``registry.internal:5000``.
        provider: the name of a provider of the catalog; None: found from the host.
        username: the user to log in as; None: the provider's own credentials, then docker's files, then anonymous.
        password: where the password or token of ``username`` is to be found.
        tls: certificates.
        plain_http: speak HTTP without TLS.
        concurrency: most requests in flight; None: the provider's default.
        requests_per_second: most requests begun in a second; None: no limit of ours.
        bandwidth: most bytes in a second, all transfers together; None: no limit.
        mirrors: hosts that are read from first, in this order.
        auth_hosts: further hosts whose token service may see this registry's credential.
        proxy: the URL of a proxy; `ENVIRONMENT_PROXY` to follow HTTPS_PROXY and its kin; None: straight. The URL may
            hold a password, therefore the repr leaves it out.
        quota_reserve: pulls of the registry's window that are never spent.
        create_repositories: what a repository gets when the provider creates it, by the provider's own words; None:
            the provider's defaults.
    """

    host: str
    provider: str | None = None
    username: str | None = None
    password: Secret | None = None
    tls: TlsSettings = TlsSettings()
    plain_http: bool = False
    concurrency: int | None = None
    requests_per_second: float | None = None
    bandwidth: int | None = None
    mirrors: tuple[str, ...] = ()
    auth_hosts: tuple[str, ...] = ()
    proxy: str | None = field(default=None, repr=False)
    quota_reserve: int = 0
    create_repositories: Mapping[str, object] | None = field(default=None, hash=False)
