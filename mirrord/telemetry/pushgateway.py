"""Pushes metrics to a Prometheus Pushgateway, after a run that is over before anybody could scrape it."""

from __future__ import annotations

import base64
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from mirrord.errors import MirrordError, UsageError, quote
from mirrord.ports.redaction import redact_text, redact_url
from mirrord.telemetry.metrics import Metrics

DEADLINE_S: Final = 10.0
USERNAME: Final = "MIRRORD_PUSHGATEWAY_USERNAME"
PASSWORD_FILE: Final = "MIRRORD_PUSHGATEWAY_PASSWORD_FILE"  # noqa: S105 - the name of a variable

GROUP: Final = "/metrics/job/mirrord"
_GROUPED: Final = re.compile(r"/metrics/(?P<job>job(?:@base64)?(?:/|$).*)")
_EXPECTED: Final = "http[s]://host[:port][/path], or with a group at its end: .../metrics/job/NAME[/LABEL/VALUE]..."


class PushgatewayError(MirrordError):
    """The Pushgateway did not take the metrics."""

    default_code = "PUSHGATEWAY_FAILED"
    default_remedy = "check that the address is that of a Pushgateway, and that it can be reached from here"


def push(
    url: str,
    metrics: Metrics,
    *,
    environment: Mapping[str, str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Send mirrord's metrics to a Pushgateway, in place of those of the same names in the same group.

    What this run says nothing about stays as an earlier one left it: the last success, after a run that failed.

    Args:
        url: ``http[s]://host[:port][/path]``: the group is ``job="mirrord"``. One that names a group,
            ``.../metrics/job/NAME/LABEL/VALUE``, is taken as it is. A user in it is refused: command lines are seen
            by others.
        metrics: what to send, without the metrics of the process.
        environment: where user and password file are looked for, under the names above; None: that of the process.
        deadline_s: how long all of it may take.

    Raises:
        UsageError: the address cannot be used, or the password file cannot be read.
        PushgatewayError: the gateway cannot be reached, or refuses.
    """
    check_address(url)
    address = url.rstrip("/") if _GROUPED.search(urlsplit(url).path) else url.rstrip("/") + GROUP
    authorization = _authorization(os.environ if environment is None else environment)
    failures: list[Exception] = []

    def send() -> None:
        try:
            _post(address, generate_latest(metrics.collector), authorization, deadline_s)
        except Exception as exc:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(exc)

    # The timeout of a socket begins anew with every byte: only a thread can be left behind when the whole is late.
    thread = threading.Thread(target=send, name="pushgateway", daemon=True)
    thread.start()
    thread.join(deadline_s)
    shown = f"push metrics to {redact_url(url)}"
    if thread.is_alive():
        raise PushgatewayError(f"{shown}: no answer within {deadline_s:g} s")
    if failures:
        raise PushgatewayError(f"{shown}: {_why(failures[0])}") from failures[0]


def check_address(url: str) -> None:
    """See that metrics could be sent there; no request is made.

    Raises:
        UsageError: it is no address of a Pushgateway, or has a user in it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UsageError(f"{redact_url(url)} is no address of a Pushgateway") from None
    if "@" in parts.netloc:
        raise UsageError(
            f"the address of the Pushgateway has a user in it: {redact_url(url)}",
            remedy=f"set {USERNAME} and {PASSWORD_FILE} instead; command lines are seen by others",
        )
    if not usable or parts.query or parts.fragment:
        raise UsageError(f"{redact_url(url)} is no address of a Pushgateway", remedy=f"expected {_EXPECTED}")
    found = _GROUPED.search(parts.path)
    group = found["job"].rstrip("/").split("/") if found is not None else []
    if len(group) % 2 or not all(group):
        raise UsageError(
            f"{redact_url(url)} names a group of which a label or a value is missing", remedy=f"expected {_EXPECTED}"
        )


def _authorization(environment: Mapping[str, str]) -> str | None:
    """Return the value of the Authorization header; None where no user is set."""
    username, file = environment.get(USERNAME, ""), environment.get(PASSWORD_FILE, "")
    if not username and not file:
        return None
    if not username or not file:
        raise UsageError(f"{USERNAME} and {PASSWORD_FILE} go together, and one of them is not set")
    try:
        password = Path(file).read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        raise UsageError(f"{PASSWORD_FILE} names {quote(file)}, which cannot be read as text") from exc
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _opener() -> urllib.request.OpenerDirector:
    """Return what sends requests, through a proxy of the environment, and takes a redirect for a failure.

    urllib would make a GET of a redirected POST, without the metrics, and call that a success.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _post(url: str, text: bytes, authorization: str | None, timeout_s: float) -> None:
    """Send the metrics: POST replaces those of the same names in the group, and leaves others."""
    headers = {"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    request = urllib.request.Request(url, data=text, method="POST", headers=headers)  # noqa: S310 - http or https: checked
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)
    with _opener().open(request, timeout=timeout_s):
        pass


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        with error:
            said = error.read(2000).decode("utf-8", "replace")
        return f"it answered {error.code}" + (f": {quote(redact_text(said.strip()))}" if said.strip() else "")
    if isinstance(error, urllib.error.URLError):
        return quote(redact_text(str(error.reason)))
    if isinstance(error, OSError | HTTPException | ValueError):
        return quote(redact_text(str(error) or type(error).__name__))
    return quote(redact_text(f"{type(error).__name__}: {error}"))
