"""TLS contexts: the system's roots, a registry's own CA, and client certificates.

On Linux the system's roots are a file or a directory that OpenSSL reads, which takes it 15 ms and 0.8 MiB. truststore
has it do so at every handshake, to notice changes. Here one context serves all clients with the same settings, until
the roots change.

Contexts are made by `ssl.SSLContext`, never by `ssl.create_default_context`: since Python 3.13 that one asks for
VERIFY_X509_STRICT, which refuses certificates without key identifiers, as many private authorities issue them.

Source: the truststore documentation for the system's roots; Python's ssl module for the rest.
"""

from __future__ import annotations

import os
import platform
import ssl
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import truststore

from mirrord.errors import StartupError
from mirrord.ports.settings import TlsSettings

_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
"""Where distributions keep them, for an OpenSSL that was built for another place."""

_HASHED = "[0-9a-f]" * 8 + ".[0-9]"
"""Names of certificates in a directory that OpenSSL can search."""

_KEPT_CONTEXTS = 16

_Stamp = tuple[int, int, int] | None
"""What changes with a file: its inode, size and time; None where it cannot be read."""


def shared_ssl_context(settings: TlsSettings, *, foreign: bool = False) -> Callable[[], ssl.SSLContext]:
    """Return what gives the context for the next handshake: the same one until the system's roots change.

    Clients with the same settings share it. Arguments are those of `make_ssl_context`, and so is what the first call
    of the returned function raises; files that are unusable later leave the context as it was.
    """
    own = _for_others(settings) if foreign else settings
    files = [path for path in (own.ca_file, own.cert_file, own.key_file) if path is not None]
    roots = [path for path in _system_roots() if path is not None]
    known: tuple[_Stamp, ...] = ()
    context: ssl.SSLContext | None = None

    def current() -> ssl.SSLContext:
        nonlocal known, context
        stamps = tuple(map(_stamp, roots))
        if context is None or stamps != known:
            try:
                context = _kept(own, (*stamps, *map(_stamp, files)))
            except StartupError:
                if context is None:
                    raise
            known = stamps
        return context

    return current


@lru_cache(maxsize=_KEPT_CONTEXTS)
def _kept(settings: TlsSettings, _stamps: tuple[_Stamp, ...]) -> ssl.SSLContext:
    return make_ssl_context(settings)


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116 - for every request: a Path costs more than the look
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _for_others(settings: TlsSettings) -> TlsSettings:
    return TlsSettings(ca_file=settings.ca_file)


def make_ssl_context(settings: TlsSettings, *, foreign: bool = False) -> ssl.SSLContext:
    """Return the context for a registry, or for other origins that it sends us to.

    Args:
        settings: the registry's TLS settings.
        foreign: for other origins: always verified, without the client certificate; the registry's CA counts too.

    Raises:
        StartupError: a file is missing or is not what it should be (CA_BUNDLE_INVALID, CLIENT_CERTIFICATE_INVALID).
    """
    if foreign:
        settings = _for_others(settings)
    if settings.verify:
        context = _trusting_the_system()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.ca_file is not None and settings.verify:
        _load_ca(context, settings.ca_file)
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as exc:
            raise StartupError(
                f"the client certificate {settings.cert_file} cannot be used: {_why(exc)}",
                code="CLIENT_CERTIFICATE_INVALID",
                remedy="give a PEM certificate, and its key in the same file or as key_file",
            ) from exc
    return context


def _trusting_the_system() -> ssl.SSLContext:
    if platform.system() != "Linux":
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_default_verify_paths()
    named = os.environ.get("SSL_CERT_FILE")
    if named and not context.cert_store_stats()["x509"]:
        # OpenSSL passes over a file that it cannot use, and every registry's certificate would be unknown.
        raise StartupError(
            f"the variable SSL_CERT_FILE names {named}, which holds no usable PEM certificate",
            code="CA_BUNDLE_INVALID",
            remedy="let it name a file with PEM certificates, or unset it: then the system's are trusted",
        )
    file, _ = _system_roots()
    if file in _ROOTS:
        context.load_verify_locations(cafile=file)
    return context


def _system_roots() -> tuple[str | None, str | None]:
    """Return the file and the directory of the authorities that the system trusts: what OpenSSL or a variable says."""
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not (paths.capath and any(Path(paths.capath).glob(_HASHED))):
        return next((path for path in _ROOTS if Path(path).is_file()), None), paths.capath
    return paths.cafile, paths.capath


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
