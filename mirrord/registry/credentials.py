"""Where credentials come from: the registry's own entry, docker's and podman's files, and the chain of all sources."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from mirrord.errors import CredentialError, CredentialUnavailableError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.settings import RegistrySettings, SecretReader
from mirrord.registry.credential_helper import ask_helper
from mirrord.registry.dockerconfig import DockerConfig, invalid, server_address

REMEMBERED_S: Final = 60.0
"""A found credential is used this long without asking its source again."""

_LARGEST_CONFIG: Final = 1024 * 1024


class ExplicitCredentials(CredentialProvider):
    """The user name and password of one registry's entry in mirrord's own configuration."""

    def __init__(self, settings: RegistrySettings, read_secret: SecretReader) -> None:
        self._settings = settings
        self._read_secret = read_secret

    async def credential(self, host: str) -> Credential | None:
        """Return the entry's credential, its password read afresh; None for other hosts or without an entry.

        Raises:
            CredentialError: one of user name and password is missing, or the password cannot be read.
        """
        username, password = self._settings.username, self._settings.password
        if host != self._settings.host or (username is None and password is None):
            return None
        if not username or password is None:
            raise CredentialError(
                f'the registry "{host}" is configured with only one of username and password',
                code="CREDENTIAL_INCOMPLETE",
                remedy="set both, or neither",
            )
        if ":" in username:
            raise CredentialError(
                f'the username of the registry "{host}" has a colon, which cannot be sent (RFC 7617)',
                code="CREDENTIAL_INCOMPLETE",
                remedy="write user and password as two values",
            )
        secret = await self._read_secret(password)
        return Credential(username=username, secret=secret, origin="registries entry")


class DockerConfigCredentials(CredentialProvider):
    """The files of docker and podman, with the credential helpers that they name.

    They are looked at in this order:
    ``$REGISTRY_AUTH_FILE``; ``$DOCKER_CONFIG/config.json``, or ``~/.docker/config.json``;
    ``$XDG_RUNTIME_DIR/containers/auth.json``; ``$XDG_CONFIG_HOME/containers/auth.json``, or below ``~/.config``.

    In one file helpers come before stored secrets. A file that is not there is no error, one that is unusable is.
    """

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        """Make a provider; nothing is read yet.

        Args:
            environment: the environment variables, for the places of the files and for the helpers.
            home: the user's home directory.
        """
        self._environment = dict(environment)
        self.files: Final = _files(environment, home)

    async def credential(self, host: str) -> Credential | None:
        """Return the first credential for a registry; the files are read each time, so that a new login counts.

        Raises:
            CredentialError: a file or the helper that it names for this registry does not work.
        """
        for path in self.files:
            config = await anyio.to_thread.run_sync(_read_config, path)
            if config is None:
                continue
            for name in config.helpers_for(host):
                answer = await ask_helper(name, server_address(host), environment=self._environment)
                if answer is not None:
                    return Credential(
                        username=answer.username,
                        secret=answer.secret,
                        identity_token=answer.identity_token,
                        origin=f"docker-credential-{name} ({path})",
                    )
            stored = config.stored(host)
            if stored is not None:
                return stored
        return None


class NativeCredentials(CredentialProvider):
    """Each registry's own source of credentials, where its provider has one; made when it is first asked."""

    def __init__(self, find: Callable[[str], CredentialProvider | None]) -> None:
        """Ask ``find`` for the source of a host, once each."""
        self._find = find
        self._sources: dict[str, CredentialProvider | None] = {}

    async def credential(self, host: str) -> Credential | None:
        """Return what the registry's own source gives; None where it has none.

        Raises:
            CredentialUnavailableError: the source cannot be used here.
            CredentialError: it is configured, and failed.
        """
        if host not in self._sources:
            self._sources[host] = self._find(host)
        source = self._sources[host]
        return await source.credential(host) if source is not None else None

    def missing(self, host: str) -> str:
        """Return what the registry's source says."""
        source = self._sources.get(host)
        return source.missing(host) if source is not None else ""

    def forget(self, host: str) -> None:
        """Pass it on to the registry's source."""
        source = self._sources.get(host)
        if source is not None:
            source.forget(host)


class CredentialChain(CredentialProvider):
    """Asks providers in their order; what the first one finds, or that none does, is remembered for a minute.

    Tasks that ask for one host at the same time share one search and its outcome, a failure too.
    """

    def __init__(self, providers: Sequence[CredentialProvider], clock: Clock) -> None:
        self._providers = tuple(providers)
        self._clock = clock
        self._found: dict[str, _Found] = {}
        self._searches: dict[str, _Search] = {}

    async def credential(self, host: str) -> Credential | None:
        """Return the credential for a registry, or None if it is to be used anonymously.

        Raises:
            CredentialError: a source is configured for the registry, but failed; later sources are not asked.
        """
        while True:
            found = self._found.get(host)
            if found is not None and self._clock.monotonic() < found.good_until_s:
                return found.credential
            search = self._searches.get(host)
            if search is None:
                return await self._search(host)
            await search.over.wait()
            if search.error is not None:
                error = search.error
                raise type(error)(error.message, code=error.code, remedy=error.remedy) from error
            if search.found is not None:
                return search.found.credential
            # The task that searched was cancelled; the next one takes over.

    def missing(self, host: str) -> str:
        """Return what the first source has to say that has anything to say; "" where a credential was found."""
        found = self._found.get(host)
        if found is not None and found.credential is not None:
            return ""
        return next((hint for provider in self._providers if (hint := provider.missing(host))), "")

    def forget(self, host: str) -> None:
        """Make the next question ask the sources again: the registry did not accept what they gave."""
        self._found.pop(host, None)
        self._searches.pop(host, None)
        for provider in self._providers:
            provider.forget(host)

    async def _search(self, host: str) -> Credential | None:
        search = self._searches[host] = _Search()
        try:
            credential = await self._ask_providers(host)
            search.found = _Found(credential, self._clock.monotonic() + self._life_s(credential))
            if self._searches.get(host) is search:  # else it was forgotten meanwhile
                self._found[host] = search.found
            return credential
        except CredentialError as exc:
            search.error = exc
            raise
        finally:
            if self._searches.get(host) is search:
                del self._searches[host]
            search.over.set()

    async def _ask_providers(self, host: str) -> Credential | None:
        unavailable: CredentialUnavailableError | None = None
        for provider in self._providers:
            try:
                credential = await provider.credential(host)
            except CredentialUnavailableError as exc:
                unavailable = unavailable or exc
                continue
            if credential is not None:
                return credential
        if unavailable is not None:
            raise unavailable
        return None

    def _life_s(self, credential: Credential | None) -> float:
        if credential is None or credential.expires_at is None:
            return REMEMBERED_S
        left_s = (credential.expires_at - self._clock.now()).total_seconds()
        return min(max(left_s, 0.0), REMEMBERED_S)


@dataclass(frozen=True, slots=True)
class _Found:
    credential: Credential | None
    good_until_s: float


@dataclass(slots=True)
class _Search:
    over: anyio.Event = field(default_factory=anyio.Event)
    found: _Found | None = None
    error: CredentialError | None = None


def _files(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    configured = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    files = [docker / "config.json", configured / "containers" / "auth.json"]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        files.insert(1, Path(runtime) / "containers" / "auth.json")
    if named := environment.get("REGISTRY_AUTH_FILE"):
        files.insert(0, Path(named))
    return tuple(dict.fromkeys(files))


def _read_config(path: Path) -> DockerConfig | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            invalid(str(path), "it is no regular file")
        if status.st_size > _LARGEST_CONFIG:
            invalid(str(path), f"it is larger than {_LARGEST_CONFIG // 1024} KiB")
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        invalid(str(path), exc.strerror or type(exc).__name__)
    return DockerConfig.parse(raw, str(path))
