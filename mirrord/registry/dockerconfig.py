"""The configuration files of docker and podman, as far as they hold credentials.

Format: docker/cli's configfile package and containers-auth.json(5). Podman's keys for parts of a registry
(``host/namespace``) are left out, because credentials are asked for by host.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from mirrord.errors import CredentialError, InvalidReferenceError, quote
from mirrord.oci.reference import DOCKER_HUB, parse_host
from mirrord.ports.credentials import Credential

_DOCKER_HUB_SERVER: Final = "https://index.docker.io/v1/"
_API_PATHS: Final = frozenset({"", "v1", "v2"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerConfig:
    """One file, read. ``auths`` may hold secrets, hence not in the repr; its entries are checked when they are used."""

    path: str
    auths: Mapping[str, object] = field(default_factory=dict, repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    @classmethod
    def parse(cls, raw: bytes, path: str) -> DockerConfig:
        """Return the content of the file at ``path``.

        Raises:
            CredentialError: it is not what docker writes (DOCKER_CONFIG_INVALID); the path is named, never the content.
        """
        try:
            document = json.loads(raw.decode("utf-8-sig")) if raw.strip() else {}
        except (ValueError, RecursionError):
            invalid(path, "it is not JSON")
        if not isinstance(document, dict):
            invalid(path, "it is no JSON object")
        auths = document.get("auths") or {}
        helpers = document.get("credHelpers") or {}
        store = document.get("credsStore") or ""
        if not isinstance(auths, dict):
            invalid(path, '"auths" is no object')
        if not isinstance(helpers, dict) or not all(isinstance(name, str) for name in helpers.values()):
            invalid(path, '"credHelpers" is no object of names')
        if not isinstance(store, str):
            invalid(path, '"credsStore" is no name')
        return cls(path=path, auths=auths, helpers=helpers, store=store)

    def helpers_for(self, host: str) -> tuple[str, ...]:
        """Return the names of the helpers to ask for a registry, the most special one first."""
        special = [name for key, name in self.helpers.items() if name and _same_host(key, host)]
        return tuple(dict.fromkeys([*special, *([self.store] if self.store else [])]))

    def stored(self, host: str) -> Credential | None:
        """Return the credential that stands in the file itself, or None. An entry without any secret is none.

        Raises:
            CredentialError: the entry cannot be understood.
        """
        keys = sorted((key for key in self.auths if _same_host(key, host)), key=lambda key: key != host)
        for key in keys:
            credential = self._entry(key, self.auths[key])
            if credential is not None:
                return credential
        return None

    def _entry(self, key: str, entry: object) -> Credential | None:
        if not isinstance(entry, dict):
            invalid(self.path, f'the entry "{quote(key)}" is no object')
        texts = {name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken")}
        if not all(isinstance(text, str) for text in texts.values()):
            invalid(self.path, f'the entry "{quote(key)}" has a value that is no text')
        username, secret = texts["username"], texts["password"]
        if texts["auth"]:
            username, secret = self._decoded(key, texts["auth"])
        if texts["identitytoken"]:
            if secret:
                invalid(self.path, f'the entry "{quote(key)}" has a password and an identity token')
            return Credential(username=username, identity_token=texts["identitytoken"], origin=self.path)
        if not secret and entry.get("registrytoken"):
            invalid(self.path, f'the entry "{quote(key)}" has only a registry token, which expires and is not used')
        if username and not secret:
            invalid(self.path, f'the entry "{quote(key)}" has a user, but neither password nor identity token')
        return Credential(username=username, secret=secret, origin=self.path) if secret else None

    def _decoded(self, key: str, auth: str) -> tuple[str, str]:
        try:
            text = base64.b64decode("".join(auth.split()), validate=True).decode("utf-8")
        except ValueError:
            invalid(self.path, f'"auth" of the entry "{quote(key)}" is not base64')
        username, colon, secret = text.partition(":")
        if not colon:
            invalid(self.path, f'"auth" of the entry "{quote(key)}" has no colon between user and password')
        return username, secret.strip("\x00")  # old docker versions padded passwords with NUL


def server_address(host: str) -> str:
    """Return the address under which docker gives a registry to its helpers; Docker Hub has one of its own."""
    return _DOCKER_HUB_SERVER if host == DOCKER_HUB else host


def invalid(path: str, problem: str) -> NoReturn:
    """Refuse a docker configuration file.

    Raises:
        CredentialError: always (DOCKER_CONFIG_INVALID).
    """
    raise CredentialError(
        f"the docker configuration {path} cannot be used: {problem}",
        code="DOCKER_CONFIG_INVALID",
        remedy="repair it, or log in again with docker or podman; mirrord does not go on without it",
    ) from None


def _same_host(key: str, host: str) -> bool:
    """Say whether a key of ``auths`` means a registry: ``host``, ``https://host/v1/`` and such."""
    text = key.lower()
    rest = text.removeprefix("https://").removeprefix("http://")
    name, _, path = rest.partition("/")
    if path.strip("/") not in _API_PATHS:
        return False
    try:
        return parse_host(name).removesuffix(":443") == host.removesuffix(":443")
    except InvalidReferenceError:
        return False
