"""Registries of the file to settings of the registry adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic_core import PydanticCustomError

from mirrord.config.finding import Finding
from mirrord.config.interpolation import interpolate
from mirrord.config.policies import read_policy
from mirrord.config.registry_models import CreateRepositoriesSection, RegistrySection, SecretSection, TlsSection
from mirrord.config.secrets import exposure_of
from mirrord.errors import ConfigError, ConfigProblem, InvalidReferenceError
from mirrord.oci.reference import parse_host
from mirrord.ports.settings import CommandSecret, EnvSecret, FileSecret, RegistrySettings, Secret, TlsSettings

_LOOPBACK = ("localhost", "127.", "[::1]")


def normalise_hosts(
    sections: Mapping[str, RegistrySection], environment: Mapping[str, str]
) -> tuple[dict[str, tuple[str, RegistrySection]], list[Finding]]:
    """Return the sections by normal host, each with its key in the file; and what is wrong with the keys."""
    by_host: dict[str, tuple[str, RegistrySection]] = {}
    findings: list[Finding] = []
    for key, section in sections.items():
        path = ("registries", key)
        try:
            host = parse_host(interpolate(key, environment))
        except InvalidReferenceError as exc:
            findings.append(Finding(path, exc.code, exc.message))
        except PydanticCustomError as exc:
            findings.append(Finding(path, exc.type, exc.message()))
        else:
            if host in by_host:
                message = f'this and "{by_host[host][0]}" are the same registry, {host}; keep one of the entries'
                findings.append(Finding(path, "CREDENTIAL_AMBIGUOUS", message))
            else:
                by_host[host] = (key, section)
    return by_host, findings


def check_registry(host: str, key: str, section: RegistrySection, directory: str) -> Iterator[Finding]:
    """Yield what is wrong or risky in one registry's settings."""
    path = ("registries", key)
    if (section.username is None) != (section.password is None):
        has, lacks = ("username", "password") if section.password is None else ("password", "username")
        yield Finding((*path, has), "CONFIG_CONFLICT", f"{has} needs {lacks} beside it")
    if (section.tls.cert_file is None) != (section.tls.key_file is None):
        has, lacks = ("cert_file", "key_file") if section.tls.key_file is None else ("key_file", "cert_file")
        yield Finding((*path, "tls", has), "CONFIG_CONFLICT", f"{has} needs {lacks} beside it")
    if section.plain_http and section.tls.model_fields_set:
        yield Finding((*path, "tls"), "CONFIG_CONFLICT", "tls and plain_http: true exclude each other")
    if host in section.mirrors:
        yield Finding((*path, "mirrors"), "CONFIG_CONFLICT", "a registry is no mirror of itself")
    if section.plain_http and section.password is not None and not host.startswith(_LOOPBACK):
        message = "the credential travels unencrypted: plain_http is on"
        yield Finding((*path, "plain_http"), "CREDENTIAL_UNENCRYPTED", message, is_warning=True)
    if section.create_repositories is not None and section.create_repositories.lifecycle_policy is not None:
        try:
            read_policy(section.create_repositories.lifecycle_policy, directory)
        except ValueError as exc:
            yield Finding((*path, "create_repositories", "lifecycle_policy"), "CONFIG_VALUE", str(exc))
    exposure = exposure_of(_secret(section.password, directory)) if section.password else None
    if exposure:
        yield Finding((*path, "password"), "SECRET_FILE_EXPOSED", exposure, is_warning=True)
    if not section.tls.verify:
        message = "certificates are not verified: whoever is on the way can read credentials and change images"
        yield Finding((*path, "tls", "verify"), "TLS_UNVERIFIED", message, is_warning=True)


def to_settings(host: str, section: RegistrySection, directory: str) -> RegistrySettings:
    """Return the settings of ``host``; relative paths begin at ``directory``.

    Raises:
        ConfigError: the file of a lifecycle policy, which was there a moment ago, cannot be read any more.
    """
    return RegistrySettings(
        host=host,
        provider=section.provider,
        username=section.username,
        password=_secret(section.password, directory) if section.password else None,
        tls=_tls(section.tls, directory),
        plain_http=section.plain_http,
        concurrency=section.concurrency,
        requests_per_second=section.requests_per_second,
        bandwidth=section.bandwidth,
        mirrors=section.mirrors,
        auth_hosts=section.auth_hosts,
        proxy=section.proxy,
        quota_reserve=section.quota.reserve,
        create_repositories=_creation(section.create_repositories, directory),
    )


def _creation(section: CreateRepositoriesSection | None, directory: str) -> dict[str, object] | None:
    if section is None:
        return None
    creation: dict[str, object] = {
        "tag_immutability": section.tag_immutability,
        "scan_on_push": section.scan_on_push,
        "tags": dict(section.tags),
    }
    if section.encryption is not None:
        creation["encryption"] = {"type": section.encryption.type, "key": section.encryption.key}
    if section.lifecycle_policy is not None:
        try:
            creation["lifecycle_policy"] = read_policy(section.lifecycle_policy, directory)
        except ValueError as exc:
            problem = ConfigProblem(file="", line=0, column=0, key="", message=str(exc), code="CONFIG_VALUE")
            raise ConfigError([problem]) from exc
    return creation


def _secret(secret: SecretSection, directory: str) -> Secret:
    if secret.env is not None:
        return EnvSecret(secret.env)
    if secret.file is not None:
        return FileSecret(str(Path(directory, secret.file)))
    assert secret.command is not None
    return CommandSecret(secret.command, directory)


def _tls(tls: TlsSection, directory: str) -> TlsSettings:
    return TlsSettings(
        ca_file=_absolute(tls.ca_file, directory),
        cert_file=_absolute(tls.cert_file, directory),
        key_file=_absolute(tls.key_file, directory),
        verify=tls.verify,
    )


def _absolute(path: str | None, directory: str) -> str | None:
    return None if path is None else str(Path(directory, path))
