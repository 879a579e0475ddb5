"""The composition root: builds every object of a process. Tests build others."""

from mirrord.app.parts import App, Gateway, Network, SystemClock, open_app

__all__ = ["App", "Gateway", "Network", "SystemClock", "open_app"]
