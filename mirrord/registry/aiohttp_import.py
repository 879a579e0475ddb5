"""aiohttp, imported without the authorities of the system.

At its import aiohttp makes two TLS contexts of its own and reads every authority of the system into them. mirrord gives
a context with each request that needs one (`registry/tls.py`), so that these two are never used: 30 ms of every start
and 2 MiB for as long as the service runs. Without authorities they trust nobody, should one be used after all.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Have contexts that are made meanwhile read no authorities; both methods are the base class's, in C."""
    changed = ssl.SSLContext
    load_default_certs = changed.load_default_certs
    changed.load_default_certs = lambda *_: None  # type: ignore[method-assign]
    changed.set_default_verify_paths = lambda self: None  # type: ignore[method-assign]  # noqa: ARG005
    try:
        yield
    finally:
        changed.load_default_certs = load_default_certs  # type: ignore[method-assign]
        del changed.set_default_verify_paths


with _no_authorities():
    import aiohttp
    import aiohttp.abc

__all__ = ["aiohttp"]
