"""The first pages that a user reads are carried out word for word, and show what commands print."""

from __future__ import annotations

import pytest

from tests.integration.docs.conftest import ReadPage
from tests.integration.docs.pagewalk import Reading

# They take 10 to 15 s each on an idle machine, most of it for environments that pip fills.
pytestmark = pytest.mark.timeout(240)

PORTS = (5001, 5002)
README = Reading(
    page="README.md",
    stays={".venv/bin/mirrord demo": "mirrord sync -c mirrord.yaml", "mirrord sync -c mirrord.yaml": None},
)
GET_STARTED = Reading(
    page="docs/get-started.md",
    stays={"mirrord demo --registries": None, "mirrord sync -c mirrord.yaml": None},
    codes={"mirrord config validate -c bad.yaml": 2},
)
SERVICE = Reading(
    page="docs/how-to/run-as-a-service.md",
    left_out={"## systemd": "it changes the system; the unit is checked with the recipes"},
    stays={"mirrord sync -c mirrord.yaml": None},
)
ONE_REPOSITORY = Reading(page="docs/how-to/mirror-a-repository.md", codes={"mirrord sync --once -c imm.yaml": 4})
MANY_TARGETS = Reading(
    page="docs/how-to/mirror-to-many-targets.md", codes={"mirrord sync --once -c half.yaml --no-progress": 1}
)
AIR_GAP = Reading(page="docs/how-to/cross-an-air-gap.md")
SIGNATURES = Reading(page="docs/how-to/mirror-signatures-and-sboms.md")


def test_the_readme_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(README, ports=PORTS, installed=False)

    assert not faults, "\n\n".join(faults)


def test_the_page_to_get_started_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(GET_STARTED, ports=(), installed=False)

    assert not faults, "\n\n".join(faults)


def test_the_page_on_the_service_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(SERVICE, ports=PORTS, installed=True)

    assert not faults, "\n\n".join(faults)


@pytest.mark.parametrize(
    ("reading", "ports"),
    [
        pytest.param(ONE_REPOSITORY, PORTS, id="one repository"),
        pytest.param(MANY_TARGETS, (*PORTS, 5003), id="many targets"),
        pytest.param(AIR_GAP, PORTS, id="air gap"),
        pytest.param(SIGNATURES, PORTS, id="signatures"),
    ],
)
def test_a_task_is_true_word_for_word(read_page: ReadPage, reading: Reading, ports: tuple[int, ...]) -> None:
    faults = read_page(reading, ports=ports, installed=True)

    assert not faults, "\n\n".join(faults)
