"""Settings of the process, from the environment: what differs from machine to machine, and not from rule to rule."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from mirrord.config.faults import fault
from mirrord.config.fields import suggest
from mirrord.config.units import parse_duration
from mirrord.errors import ConfigError, ConfigProblem, quote
from mirrord.planning.duration import format_duration

PREFIX = "MIRRORD_"
ENVIRONMENT = "environment"

_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:\s/@]*):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65_535
_STATE_SCHEMES = ("sqlite", "postgresql")
_LONGEST_DRAIN = timedelta(hours=1)


class LogLevel(StrEnum):
    """The least important events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines are written."""

    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the service listens. An empty ``host`` means every address; port 0 any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _word(kind: type[StrEnum]) -> PlainValidator:
    def read(value: object) -> StrEnum:
        try:
            return kind(str(value).lower())
        except ValueError:
            known = [str(word) for word in kind]
            message = f'"{quote(str(value), 60)}" is none of {", ".join(known)}{suggest(str(value), known)}'
            raise fault("CONFIG_VALUE", message) from None

    return PlainValidator(read)


def _listen(value: object) -> Listen:
    match = _LISTEN.fullmatch(str(value))
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        raise fault(
            "LISTEN_INVALID",
            f'"{quote(str(value), 60)}" is no address; expected host:port, 127.0.0.1:8080 or [::1]:8080 for instance',
        )
    return Listen(match["host"].strip("[]"), int(match["port"]))


def _state(value: object) -> str:
    scheme, separator, rest = str(value).partition("://")
    if scheme.partition("+")[0] not in _STATE_SCHEMES or not separator or not rest:
        # It may hold a password: only a path is shown.
        text = str(value)
        wanted = f"sqlite://{quote(text, 200)}" if text.startswith("/") else "sqlite:///PATH"
        raise fault("STATE_URL_INVALID", f"this is no state store; expected {wanted}")
    return str(value)


def _drain(value: object) -> timedelta:
    span = parse_duration(str(value))
    if span is None or span > _LONGEST_DRAIN:
        raise fault(
            "DURATION_INVALID",
            f'"{quote(str(value), 60)}" is no duration from 0s to {format_duration(_LONGEST_DRAIN)}, such as 25s',
        )
    return span


class ProcessSettings(BaseSettings):
    """Settings of the process. An empty variable is the same as none."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=False,
        hide_input_in_errors=True,
    )

    config: str | None = Field(default=None, description="The configuration file; the flag -c goes before it.")
    state: Annotated[str, PlainValidator(_state)] = Field(
        default="sqlite:///var/lib/mirrord/state.db",
        description="The state store, a file of SQLite: sqlite:///PATH. PostgreSQL is not in this version.",
        repr=False,
    )
    listen: Annotated[Listen, NoDecode, PlainValidator(_listen)] = Field(
        default=Listen("127.0.0.1", 8080), description="Where the service listens: host:port."
    )
    api_token_file: str | None = Field(
        default=None, description="The file with the bearer token of the API; needed where others can connect."
    )
    log_level: Annotated[LogLevel, _word(LogLevel)] = Field(
        default=LogLevel.INFO, description="debug, info, warning or error."
    )
    log_format: Annotated[LogFormat, _word(LogFormat)] | None = Field(
        default=None, description="console or json; by default console on a terminal, else json."
    )
    drain_timeout: Annotated[timedelta, PlainValidator(_drain)] = Field(
        default=timedelta(seconds=25), description="How long work in flight may take to end after SIGTERM."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the one source there is: what `load_process_settings` was given."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


class _Variables(EnvSettingsSource):
    """The environment that was given, not the one that the process has."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {key.lower(): value for key, value in environment.items()}
        super().__init__(ProcessSettings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {key: value for key, value in self._environment.items() if value}


def load_process_settings(environment: Mapping[str, str]) -> ProcessSettings:
    """Return the settings that the ``MIRRORD_`` variables of an environment make.

    Raises:
        ConfigError: values that cannot be used, all of them.
    """
    try:
        return ProcessSettings(**_Variables(environment)())
    except ValidationError as exc:
        raise ConfigError(
            [
                _problem(
                    str(detail["loc"][0]), str(detail.get("ctx", {}).get("message", detail["msg"])), detail["type"]
                )
                for detail in exc.errors(include_url=False)
            ]
        ) from None


def require_api_token(settings: ProcessSettings) -> None:
    """Refuse to serve others without a token.

    Raises:
        ConfigError: the service would listen on more than loopback, and there is no token file (API_AUTH_REQUIRED).
    """
    if not settings.listen.is_loopback and settings.api_token_file is None:
        message = (
            f"{settings.listen} can be reached from other machines: set {PREFIX}API_TOKEN_FILE, or listen on 127.0.0.1"
        )
        raise ConfigError([_problem("listen", message, "API_AUTH_REQUIRED")])


def _problem(field: str, message: str, code: str) -> ConfigProblem:
    key = f"{PREFIX}{field.upper()}"
    return ConfigProblem(file=ENVIRONMENT, line=0, column=0, key=key, message=message, code=code)
