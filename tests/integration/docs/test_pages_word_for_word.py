"""The first pages that a user reads are carried out word for word, and show what commands print."""

from __future__ import annotations

import pytest

from tests.integration.docs.conftest import ReadPage
from tests.integration.docs.pagewalk import Reading

# They take 10 to 15 s each on an idle machine, most of it for environments that pip fills.
pytestmark = pytest.mark.timeout(240)

README = Reading(
    page="README.md",
    left_out={
        "make test     # every test, with coverage": "this is one of them",
        "make lint     # style, types, import contracts, spelling": "CI does",
        "make check    # both": "CI does",
    },
    stays={".venv/bin/mirrord demo": "mirrord sync -c mirrord.yaml", "mirrord sync -c mirrord.yaml": None},
)
GET_STARTED = Reading(
    page="docs/get-started.md",
    stays={"mirrord demo --registries": None, "mirrord sync -c mirrord.yaml": None},
    codes={"mirrord config validate -c bad.yaml": 2},
)
SYSTEM = "it changes the system; the units are checked with the recipes"
SERVICE = Reading(
    page="docs/how-to/run-as-a-service.md",
    left_out=dict.fromkeys(
        (
            "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin mirrord",
            "python3 -m venv /opt/mirrord",
            "/opt/mirrord/bin/pip install .",
            "install -d -m 0750 -g mirrord /etc/mirrord",
            "install -m 0640 -g mirrord mirrord.yaml /etc/mirrord/mirrord.yaml",
            "(umask 027; openssl rand -hex 32 > /etc/mirrord/token; chgrp mirrord /etc/mirrord/token)",
            "systemctl daemon-reload",
            "systemctl enable --now mirrord",
            "journalctl -u mirrord -f",
        ),
        SYSTEM,
    ),
    stays={"mirrord sync -c mirrord.yaml": None},
)


def test_the_readme_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(README, registries=True, installed=False)

    assert not faults, "\n\n".join(faults)


def test_the_page_to_get_started_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(GET_STARTED, registries=False, installed=False)

    assert not faults, "\n\n".join(faults)


def test_the_page_on_the_service_is_true_word_for_word(read_page: ReadPage) -> None:
    faults = read_page(SERVICE, registries=True, installed=True)

    assert not faults, "\n\n".join(faults)
