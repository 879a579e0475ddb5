from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from mirrord.demo.registry import RegistryApp
from mirrord.demo.serving import serve


@pytest.fixture
def app() -> RegistryApp:
    return RegistryApp()


@pytest.fixture
async def client(app: RegistryApp) -> AsyncIterator[httpx2.AsyncClient]:
    async with serve(app) as host, httpx2.AsyncClient(base_url=f"http://{host}", verify=False) as client:
        yield client
