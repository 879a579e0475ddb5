"""TLS contexts: the system's roots, a registry's own CA, and client certificates.

Source: the truststore documentation for the system's roots; Python's ssl module for the rest.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import truststore

from mirrord.errors import StartupError
from mirrord.ports.settings import TlsSettings


def make_ssl_context(settings: TlsSettings, *, foreign: bool = False) -> ssl.SSLContext:
    """Return the context for a registry, or for other origins that it sends us to.

    Args:
        settings: the registry's TLS settings.
        foreign: for other origins: always verified, without the client certificate; the registry's CA counts too.

    Raises:
        StartupError: a file is missing or is not what it should be (CA_BUNDLE_INVALID, CLIENT_CERTIFICATE_INVALID).
    """
    if settings.verify or foreign:
        context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None and (settings.verify or foreign):
        _load_ca(context, settings.ca_file)
    if settings.cert_file is not None and not foreign:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as exc:
            raise StartupError(
                f"the client certificate {settings.cert_file} cannot be used: {_why(exc)}",
                code="CLIENT_CERTIFICATE_INVALID",
                remedy="give a PEM certificate, and its key in the same file or as key_file",
            ) from exc
    return context


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    try:
        if "PRIVATE KEY" in Path(path).read_text(encoding="ascii", errors="replace"):
            raise ssl.SSLError(1, "the file holds a private key")
        context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as exc:
        raise StartupError(
            f"the CA file {path} cannot be used: {_why(exc)}",
            code="CA_BUNDLE_INVALID",
            remedy="give a file with PEM certificates",
        ) from exc


def _why(exc: OSError) -> str:
    return exc.strerror or "it holds no usable PEM certificate"
