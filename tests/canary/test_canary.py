"""Every registry, with everything that mirrord does there: each secret is seen where it belongs, and nowhere else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mirrord.registry.providers.catalog import choose_provider, known_providers
from tests.canary.kinds import KINDS, Kind
from tests.canary.ledger import told
from tests.canary.places import open_place
from tests.canary.tour import take


@pytest.mark.anyio
@pytest.mark.covers("A13", "A18")
@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in KINDS])
async def test_secrets_reach_their_own_origins_and_no_others(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs, listings, a check and deletions, with secrets of four registries and cookies of every server."""
    caplog.set_level(logging.DEBUG)
    async with open_place(kind, tmp_path, monkeypatch) as place:
        tour = await take(place)
    secrets = place.secrets()

    assert place.ledger.leaks(secrets) == []
    assert told([*tour.texts, caplog.text], secrets) == []
    assert place.ledger.sightings(secrets) == {secret.name: set(secret.origins) for secret in secrets if secret.origins}
    assert tour.copied == 6
    assert "1.0" in tour.tags
    assert [failure for failure in tour.failures if "UNSUPPORTED" not in failure] == []


def test_every_provider_has_its_canary() -> None:
    """None is left out, whoever adds one."""
    providers = known_providers()

    assert {choose_provider(kind.host, kind.provider, providers).name for kind in KINDS} == {
        provider.name for provider in providers
    }
