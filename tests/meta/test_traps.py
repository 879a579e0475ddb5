"""Every trap of the table is shown by a test, and no test shows one that the table lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COLLECTED
from tests.traps.table import BULK, BULK_NUMBERS, NUMBERS, PROGRAMS, TRAPS, VARIANTS, Shown, faults_of, shown_by

ROOT = Path(__file__).parents[2]


def all_tests(config: pytest.Config) -> list[str]:
    """Return the id of every test: those that this run has collected, or where it is narrower, those of a whole one."""
    if {Path(config.invocation_params.dir, arg.partition("::")[0]).resolve() for arg in config.args} == {
        ROOT / "tests"
    }:
        return config.stash[COLLECTED]
    listed = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "tests",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr[-2000:]
    return [line for line in listed.stdout.splitlines() if "::" in line]


@pytest.mark.timeout(240)  # a worker of several collects all tests itself
def test_every_trap_of_every_registry_is_shown_and_no_other(request: pytest.FixtureRequest) -> None:
    faults = faults_of(all_tests(request.config))

    assert not faults, "\n".join([f"{len(faults)} faults of trap ids (see tests/traps/table.py):", *faults])


def test_table_has_all_forty_traps_and_nine_rules() -> None:
    assert frozenset().union(*TRAPS.values()) == NUMBERS
    assert frozenset().union(*BULK.values()) == BULK_NUMBERS
    assert set(BULK) - {"core"} < set(TRAPS)
    for name, numbers in PROGRAMS.items():
        assert numbers <= TRAPS[VARIANTS[name]], name


@pytest.mark.parametrize(
    ("node_id", "shown"),
    [
        ("t.py::test_a", []),
        ("t.py::test_trap-07-google", []),
        ("t.py::test_a[trap-07-google]", [Shown("trap", 7, "google")]),
        ("t.py::test_a[asyncio-D6:trap-13-distribution-128000]", [Shown("trap", 13, "distribution")]),
        ("t.py::test_a[whole-trap-21-distribution-v2]", [Shown("trap", 21, "distribution-v2")]),
        ("t.py::test_a[trap-30-ecr-public-404-chunks]", [Shown("trap", 30, "ecr-public")]),
        ("t.py::test_a[trap-39-3.0.0]", ["trap-39-3.0.0"]),
        ("t.py::test_a[bulk-06-quay-trap-31-quay]", [Shown("bulk", 6, "quay"), Shown("trap", 31, "quay")]),
        ("t.py::test_a[trap-7-google]", ["trap-7-google"]),
        ("t.py::test_a[trap-07-404]", ["trap-07-404"]),
        ("t.py::test_a[trap-07-googles]", ["trap-07-googles"]),
        ("t.py::test_a[one-trap-07]", ["trap-07"]),
    ],
    ids=range(12),
)
def test_id_says_what_a_test_shows(node_id: str, shown: list[Shown | str]) -> None:
    assert list(shown_by(node_id)) == shown


def test_every_missing_pair_and_every_unknown_one_is_named() -> None:
    every = [
        f"t.py::test[trap-{number:02}-{name}]"
        for name, numbers in (*TRAPS.items(), *PROGRAMS.items())
        for number in numbers
    ]
    every += [f"t.py::test[bulk-{number:02}-{name}]" for name, numbers in BULK.items() for number in numbers]
    every += [f"t.py::test[bulk-{number:02}-quay]" for number in BULK_NUMBERS]

    assert faults_of(every) == []
    assert faults_of(set(every) - {"t.py::test[trap-26-dockerhub]"}) == [
        "no test shows trap-26-dockerhub",
        "no test shows trap-26 with any registry",
    ]
    assert faults_of(set(every) - {"t.py::test[trap-14-docker-registry]"}) == ["no test shows trap-14-docker-registry"]
    assert faults_of(set(every) - {"t.py::test[bulk-09-google]"}) == ["no test shows bulk-09-google"]
    for wrong in ("trap-26-zot", "trap-41-zot", "trap-00-ecr", "bulk-01-zot", "bulk-10-quay", "trap-38-nginx"):
        [fault] = faults_of([*every, f"t.py::test_wrong[{wrong}]"])
        assert re.fullmatch(rf"no such pair in .*: {wrong}, named by t.py::test_wrong", fault)
