"""What holds for every test: the async backend, missing tools, and the rows of the reliability page that are proved."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable

import hypothesis
import pytest

IN_CI = os.environ.get("CI", "").lower() == "true"
# A row such as E16, and a variant of one such as D68:tags-null.
ROW = re.compile(r"([ACDEMP][1-9]\d*)(?::.+)?")
ROW_ID = re.compile(r"\[(?:.*-)?([ACDEMP][1-9]\d*):[^\]]+\]$")
COLLECTED = pytest.StashKey[list[str]]()
"""The ids of all tests that a run found, before any were left out of it."""
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("local", deadline=None)
# In CI the same examples in each run: a failure there is reproduced by running again.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio; modules of the core override this with both backends."""
    return "asyncio"


@pytest.fixture(scope="session")
def require_tool() -> Callable[..., None]:
    """Skip when one of the named system tools is missing; in CI fail, for a skipped test proves nothing."""

    def require(*names: str) -> None:
        missing = [name for name in names if shutil.which(name, path=SYSTEM_PATH) is None]
        if missing and IN_CI:
            pytest.fail(f"not installed: {', '.join(missing)}; CI must have them (`make system`)", pytrace=False)
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)} (`make system` as root installs them)")

    return require


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take note of all tests before `-m` and `-k` leave some out: the table of traps is held against all of them."""
    config.stash[COLLECTED] = [item.nodeid for item in items]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note the rows that a test proves, from `covers` marks and parameter ids, and fail it for a misspelt one."""
    item.user_properties.extend(("covers", row) for row in covered_rows(item))


def covered_rows(item: pytest.Item) -> list[str]:
    """Return the rows that a test proves when it passes.

    Raises:
        pytest.fail.Exception: A `covers` mark names something that is no row.
    """
    rows = []
    for mark in item.iter_markers("covers"):
        for written in mark.args:
            match = ROW.fullmatch(written) if isinstance(written, str) else None
            if match is None:
                pytest.fail(f"covers({written!r}) names no row such as C12 or D68:variant", pytrace=False)
            rows.append(match[1])
    identified = ROW_ID.search(item.nodeid)
    if identified is not None:
        rows.append(identified[1])
    return rows


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the rows that passing tests proved; a test that skipped or failed proves none."""
    proved = {
        value
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == "covers"
    }
    if proved:
        series = Counter(str(row)[0] for row in proved)
        counts = ", ".join(f"{letter} {series[letter]}" for letter in sorted(series))
        terminalreporter.write_line(f"rows of the reliability page proved: {counts}")
