"""`mirrord healthcheck`: whether a service is well, as an exit code for containers."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mirrord.cli.failures import complain, explain
from mirrord.cli.output import Output
from mirrord.cli.serviceclient import ServiceForeignError, UrlOption, ask, service_url
from mirrord.errors import MirrordError, quote
from mirrord.planning.report import EXIT_FAILED, EXIT_OK


def healthcheck(
    *,
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether it is ready, not only whether it lives.")] = False,
    url: UrlOption = None,
) -> int:
    """Exit with 0 if the running service makes progress, else with 1.

    With --ready: if it has a configuration and a state store that can be used, too.
    """
    path = "/readyz" if ready else "/livez"
    try:
        base = service_url(url, os.environ)
        answer = ask(base, path, {})  # open to everyone: no token leaves this process
        checks = answer.body.get("checks") if isinstance(answer.body, dict) else None
        if not isinstance(checks, list):
            raise ServiceForeignError(
                f"what answers at {base} is no service of mirrord ({answer.status})",
                remedy="give the service's address with --url",
            )
    except MirrordError as exc:
        # Containers know 0 and 1 alone, whatever the reason.
        complain(explain(exc))
        return EXIT_FAILED
    out = Output()
    for check in checks:
        if isinstance(check, dict):
            word = "ok" if check.get("ok") is True else "not ok"
            # Those who may not see data get no details, and no token leaves this process.
            detail = f", {quote(str(check['detail']))}" if check.get("detail") else ""
            out.raw(f"{quote(str(check.get('name')))}: {word}{detail}\n")
    return EXIT_OK if answer.status == 200 else EXIT_FAILED  # noqa: PLR2004 - as HTTP has it
