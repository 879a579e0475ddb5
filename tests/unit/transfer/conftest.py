from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The core runs on every event loop that anyio knows: each finds other mistakes in cancellation."""
    backend: str = request.param
    return backend
