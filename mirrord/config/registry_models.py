"""The keys of a registry."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, model_validator

from mirrord.config.faults import fault
from mirrord.config.fields import Flag, Host, Reader, Text, choice, rate, text_reader, whole_number
from mirrord.config.interpolation import NAME, escape
from mirrord.config.quantities import Bandwidth
from mirrord.config.section import Section
from mirrord.config.tree import Scalar
from mirrord.ports.settings import ENVIRONMENT_PROXY

PROVIDERS = ("generic", "dockerhub", "ecr", "ghcr", "google", "acr", "harbor", "quay", "gitlab", "zot")
SECRET_FORMS = '{env: NAME}, {file: PATH}, {command: [PROGRAM, ARGUMENT]} or "${NAME}"'  # noqa: S105 - how one is written

_VARIABLE = re.compile(rf"\$\{{({NAME})\}}")
_PROXY_SCHEMES = ("http", "https")


def _environment_name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        # What stands here may be the secret itself: it is not shown.
        raise fault("SECRET_INVALID", "env takes the name of an environment variable: letters, digits and _")
    return text


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise fault("SECRET_INVALID", "a NUL character cannot be part of this")
    return text


class SecretSection(Section):
    """Where a secret is found. It never stands in the file itself, and is read anew when it is used."""

    shorthand: ClassVar = {"type": "string", "title": '"${NAME}"', "pattern": rf"^\$\{{{NAME}\}}$"}

    env: Annotated[str, text_reader("name of a variable", _environment_name)] | None = Field(
        default=None, description="The environment variable that holds it.", examples=["DOCKERHUB_TOKEN"]
    )
    file: Annotated[str, text_reader("path", _without_nul)] | None = Field(
        default=None,
        description="The file that holds it; one newline at its end is left out. Relative to the configuration file.",
        examples=["/run/secrets/registry"],
    )
    command: tuple[Annotated[str, text_reader("argument", _without_nul)], ...] | None = Field(
        default=None,
        description="The program that prints it, with its arguments; no shell, 10 seconds, run in the directory of the "
        "configuration file.",
        examples=[["pass", "show", "registry"]],
    )

    @classmethod
    def expand(cls, scalar: Scalar) -> dict[str, object]:
        """Return the mapping that ``${NAME}`` stands for; any other text would be the secret itself."""
        match = _VARIABLE.fullmatch(scalar.text)
        if match is None:
            raise fault("SECRET_LITERAL", f"a secret cannot stand here itself; write {SECRET_FORMS}")
        return {"env": scalar.with_text(match[1])}

    @classmethod
    def _resolve(cls, scalar: Scalar, info: ValidationInfo) -> Scalar:  # noqa: ARG003 - others need it
        return scalar  # the name of the variable is wanted, not its value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(part is not None for part in (self.env, self.file, self.command)) != 1 or self.command == ():
            raise fault("SECRET_INVALID", f"a secret is exactly one of {SECRET_FORMS}")
        return self


class TlsSection(Section):
    """Certificates. Paths are relative to the configuration file."""

    ca_file: Text | None = Field(
        default=None,
        description="PEM file of the authorities that may sign the registry's certificate, besides the system's.",
        examples=["/etc/ssl/internal.pem"],
    )
    cert_file: Text | None = Field(default=None, description="PEM file of the client's certificate; needs `key_file`.")
    key_file: Text | None = Field(
        default=None, description="PEM file of the client certificate's key; needs `cert_file`."
    )
    verify: Flag = Field(
        default=True, description="`false` accepts any certificate: whoever is on the way can change images."
    )


class QuotaSection(Section):
    """What is left of the registry's own limit of pulls."""

    reserve: Annotated[int, whole_number(0, 1_000_000)] = Field(
        default=0,
        description="Pulls of the registry's window that are never spent, so that others can pull.",
        examples=[20],
    )


class EncryptionSection(Section):
    """How a new repository is encrypted at rest; it cannot be changed later."""

    type: Annotated[str, choice(("AES256", "KMS"))] = Field(
        default="AES256", description="`AES256` with a key of the registry's, or `KMS` with one of AWS KMS."
    )
    key: Text | None = Field(
        default=None,
        description="The KMS key, by id, ARN or alias; by default the account's own for the registry.",
        examples=["alias/mirror"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key is not None and self.type == "AES256":
            raise fault("CONFIG_CONFLICT", "key needs type: KMS beside it")
        return self


class CreateRepositoriesSection(Section):
    """What a repository gets when mirrord creates it, where the registry does not do so by itself."""

    tag_immutability: Flag = Field(default=False, description="Tags of the new repository cannot be moved.")
    scan_on_push: Flag = Field(
        default=False, description="Images are scanned for vulnerabilities when they are pushed."
    )
    tags: dict[str, Text] = Field(
        default={},
        description="Resource tags of the new repository. Not at Harbor, which has none.",
        examples=[{"team": "platform"}],
    )
    encryption: EncryptionSection | None = Field(
        default=None,
        description="How the new repository of Amazon ECR is encrypted; by default as the registry does.",
        examples=[{"type": "KMS", "key": "alias/mirror"}],
    )
    lifecycle_policy: Text | None = Field(
        default=None,
        description="The lifecycle policy of the new repository of Amazon ECR: a file of JSON, relative to the "
        "configuration file, or the JSON itself. By default none.",
        examples=["lifecycle.json"],
    )


def _read_proxy(scalar: Scalar) -> str | None:
    if scalar.text in {"", ENVIRONMENT_PROXY}:
        return scalar.text or None  # an empty variable, ${HTTPS_PROXY:-}, means no proxy
    try:
        url = urlsplit(scalar.text)
        usable = url.scheme in _PROXY_SCHEMES and bool(url.hostname) and url.path in {"", "/"} and url.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\\]", scalar.text) or not scalar.text.isascii():
        # It may hold a password: it is not shown.
        raise fault("PROXY_INVALID", "this is no proxy; expected http://host:port, https://host:port or environment")
    return scalar.text


def _write_proxy(value: object) -> str:
    url = urlsplit(str(value))
    if url.username is None:
        return escape(str(value))
    return escape(url._replace(netloc="***@" + url.netloc.rpartition("@")[2]).geturl())


class RegistrySection(Section):
    """Settings of one registry."""

    provider: Annotated[str, choice(PROVIDERS)] | None = Field(
        default=None,
        description="The kind of registry, for hosts by which it cannot be recognised.",
        examples=["harbor"],
    )
    username: Text | None = Field(
        default=None, description="The user to log in as; needs `password`.", examples=["mirror-bot"]
    )
    password: SecretSection | None = Field(
        default=None,
        description="The password or token of `username`: where it is found, never the secret itself.",
        examples=[{"env": "DOCKERHUB_TOKEN"}, {"file": "/run/secrets/registry"}, "${TOKEN}"],
    )
    tls: TlsSection = Field(default=TlsSection(), description="Certificates.")
    plain_http: Flag = Field(default=False, description="`true` speaks HTTP without TLS. Only for networks you trust.")
    concurrency: Annotated[int, whole_number(1, 1000)] | None = Field(
        default=None, description="Most requests in flight; by default what suits the provider.", examples=[16]
    )
    requests_per_second: Annotated[float, rate(10_000)] | None = Field(
        default=None, description="Most requests begun in a second; by default no limit of ours.", examples=[50]
    )
    bandwidth: Bandwidth | None = Field(
        default=None,
        description="Most bytes in a second, all transfers together; by default no limit.",
        examples=["50MiB"],
    )
    mirrors: tuple[Host, ...] = Field(
        default=(), description="Other registries to read from first, in this order.", examples=[["mirror.gcr.io"]]
    )
    auth_hosts: tuple[Host, ...] = Field(
        default=(), description="Further hosts whose token service may see this registry's credential."
    )
    proxy: (
        Annotated[
            str | None,
            Reader(
                'the URL of a proxy, or "environment"', _read_proxy, {"type": "string", "title": "URL"}, _write_proxy
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="The proxy to this registry: its URL, or `environment` to follow HTTPS_PROXY, HTTP_PROXY and "
        "NO_PROXY. By default the environment is not asked and no proxy is used. A password in the URL comes from a "
        "variable.",
        examples=["http://proxy.internal:3128", "environment"],
        repr=False,
    )
    quota: QuotaSection = Field(default=QuotaSection(), description="How the registry's own pull limit is spent.")
    create_repositories: CreateRepositoriesSection | None = Field(
        default=None,
        description="What a repository gets when mirrord creates it. Amazon ECR: missing repositories are created with "
        "or without this key. Harbor: missing projects are created only with it, `{}` for the defaults. Elsewhere it "
        "does nothing.",
        examples=[{"scan_on_push": True, "tags": {"team": "platform"}}],
    )
