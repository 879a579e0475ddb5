"""How commands about single repositories reach a registry: by a configuration file, or without one.

What the file sets for registries holds here too; its rules play no part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mirrord.cli.session import load_optional, run_async

if TYPE_CHECKING:
    from mirrord.app import App
    from mirrord.ports.events import EventSink
    from mirrord.ports.settings import RegistrySettings

T = TypeVar("T")

PlainHttpOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plain-http",
        metavar="HOST",
        help="Speak HTTP without TLS to this registry, host[:port]; may be given several times.",
        show_default=False,
    ),
]


def reach(
    body: Callable[[App], Awaitable[T]],
    *,
    config: str | None,
    plain_http: Sequence[str] | None,
    events: EventSink | None = None,
) -> T:
    """Run ``body`` with an application, and return what it returns.

    Raises:
        InterruptedRunError: a signal came.
        Exception: what ``body`` raised.
    """
    return run_async(body, settings=registry_settings(config, plain_http), events=events)


def registry_settings(config: str | None, plain_http: Sequence[str] | None) -> dict[str, RegistrySettings]:
    """Return what is set for registries: by the file, if one is named, and by ``--plain-http``.

    Raises:
        ConfigError: the file is not valid.
        InvalidReferenceError: a host is none.
    """
    from mirrord.oci.reference import parse_host
    from mirrord.ports.settings import RegistrySettings

    hosts = [parse_host(text) for text in plain_http or ()]
    configuration = load_optional(config)
    settings = dict(configuration.registries) if configuration is not None else {}
    for host in hosts:
        settings[host] = replace(settings.get(host) or RegistrySettings(host=host), plain_http=True)
    return settings
