"""The HTTP side of the service: API, health, metrics, events and the status page."""
