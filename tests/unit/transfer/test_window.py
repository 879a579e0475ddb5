from __future__ import annotations

from contextlib import ExitStack

import pytest

from mirrord.transfer.window import LARGEST_WINDOW, MIB, MOST_BYTES, SMALLEST_WINDOW, Windows


@pytest.mark.parametrize(
    ("tees", "mib"), [(0, 8), (1, 8), (8, 8), (9, 64 / 9), (16, 4), (32, 2), (33, 2), (500, 2)], ids=str
)
def test_windows_share_the_memory_of_the_process(tees: int, mib: float) -> None:
    windows = Windows()
    with ExitStack() as stack:
        for _ in range(tees):
            stack.enter_context(windows.tee())

        assert windows.bytes_each == int(mib * MIB)


def test_windows_get_larger_again_when_a_tee_ends() -> None:
    windows = Windows()
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(windows.tee())

    assert windows.bytes_each == LARGEST_WINDOW


def test_windows_stay_within_the_budget_until_the_smallest_size_is_reached() -> None:
    windows = Windows()
    with ExitStack() as stack:
        for tees in range(1, MOST_BYTES // SMALLEST_WINDOW + 1):
            stack.enter_context(windows.tee())

            assert windows.bytes_each * tees <= MOST_BYTES
