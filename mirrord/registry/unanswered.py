"""Requests without an answer: the transport's errors as errors of ours. The only place that maps them."""

from __future__ import annotations

import re

import httpx2

from mirrord.errors import AddressRefusedError, RegistryError, UnavailableError
from mirrord.registry.call import About, path_of
from mirrord.registry.redact import redact_url
from mirrord.registry.transport import AddressBlockedError, NameFailedError, TlsFailedError

_NO_TLS_THERE = re.compile(
    r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|wrong version number|record layer", re.IGNORECASE
)


def unanswered(host: str, method: str, url: str, exc: httpx2.TransportError | TimeoutError) -> RegistryError:  # noqa: PLR0911 - a table
    """Map a transport's error to ours: what was tried, what happened, what to do."""
    place = f"{method} {redact_url(url)}"
    about = About(host=host, method=method, path=path_of(url), status=None)
    match exc:
        case TimeoutError():
            return UnavailableError(f"{place}: no complete answer in time", code="DEADLINE", **about)
        case AddressBlockedError():
            return AddressRefusedError(f"{place}: {exc}", **about)
        case TlsFailedError() if _NO_TLS_THERE.search(str(exc)):
            return UnavailableError(
                f"{place}: the registry does not speak TLS there",
                code="PLAIN_HTTP_NOT_ALLOWED",
                remedy=f'if that is what you want, set plain_http: true for "{host}" under registries; commands about '
                f"single images and repositories take --plain-http {host}",
                retryable=False,
                **about,
            )
        case TlsFailedError():
            return UnavailableError(
                f"{place}: {exc}",
                code="TLS_FAILED",
                remedy=_remedy_of_tls(host, str(exc)),
                retryable=False,
                **about,
            )
        case NameFailedError():
            return UnavailableError(
                f"{place}: {exc}", code="NAME_NOT_RESOLVED", remedy="check the host name and the DNS", **about
            )
        case httpx2.ProxyError():
            return UnavailableError(f"{place}: {exc}", code="PROXY_FAILED", remedy="check the proxy", **about)
        case httpx2.ConnectError() | httpx2.ConnectTimeout():
            return UnavailableError(
                f"{place}: no connection: {exc}", remedy="check that the registry is up and reachable", **about
            )
        case _:
            return UnavailableError(f"{place}: {exc}", **about)


def _remedy_of_tls(host: str, said: str) -> str:
    """Return what helps with a certificate, by what OpenSSL says of it."""
    if "issuer" in said or "self-signed" in said or "self signed" in said:
        return (
            f'set registries."{host}".tls.ca_file to the file of the authority that signed the certificate; '
            "a self-signed certificate is its own"
        )
    if "has expired" in said:
        return f"renew the certificate of {host}, and look at this machine's clock"
    if "mismatch" in said:
        return f"the certificate is for another name than {host}: use the one that it has, or renew it"
    return f'check the certificate of {host}, and registries."{host}".tls'
