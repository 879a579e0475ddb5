"""The HTTP side of the service: API, health, metrics, events and the status page."""

from __future__ import annotations

from mirrord.web.app import create_app
from mirrord.web.server import serve_http

__all__ = ["create_app", "serve_http"]
