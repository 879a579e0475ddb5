"""Real registries for the pairs that have one."""

from tests.integration.conftest import certificate, start_registry, start_tls_front

__all__ = ["certificate", "start_registry", "start_tls_front"]
