"""Registries that send mirrord elsewhere: whatever they try, no credential goes along."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary.foreign import ELSEWHERE
from tests.canary.kinds import KINDS, Kind, at_home
from tests.canary.ledger import told
from tests.canary.places import open_place
from tests.canary.tour import take
from tests.canary.tricks import TRICKS, Trick

pytestmark = pytest.mark.anyio


def plays() -> Iterator[object]:
    """Yield each trick on each kind of registry that it is for."""
    kinds = {kind.name: kind for kind in KINDS}
    for trick in TRICKS:
        for name in trick.of:
            yield pytest.param(trick, kinds[name], id=f"{trick.name}-at-{name}")


@pytest.mark.covers("A2", "A4", "A6", "A8", "A9", "A10", "A12")
@pytest.mark.parametrize(("trick", "kind"), list(plays()))
async def test_trick_draws_no_secret_out(
    trick: Trick, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is followed is followed without a credential; what may not be is not asked at all."""
    caplog.set_level(logging.DEBUG)
    async with open_place(kind, tmp_path, monkeypatch, profile=trick.profile) as place:
        trick.play(place)
        tour = await take(place, runs=1)
    secrets = place.secrets()
    asked = {origin for origin in (*ELSEWHERE, *at_home(kind)) if place.ledger.at(origin)}

    assert place.ledger.leaks(secrets) == []
    assert told([*tour.texts, caplog.text], secrets) == []
    assert asked == set(trick.visits)
