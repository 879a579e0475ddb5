from __future__ import annotations

from pathlib import Path

import pytest

from mirrord.app.footprint import memory_limit

NONE_IN_PAGES = 9_223_372_036_854_771_712
MIB = 1 << 20


def system(root: Path, group: str, **limits: str) -> Path:
    """Return a root directory with the group of the process and limits."""
    files = {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{path}": limit for path, limit in limits.items()}}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        pytest.param("0::/\n", {"memory.max": "268435456\n"}, 256 * MIB, id="container"),
        pytest.param("0::/\n", {"memory.max": "max\n"}, None, id="container-without-limit"),
        pytest.param("0::/\n", {}, None, id="machine"),
        pytest.param(
            "0::/system.slice/mirrord.service\n",
            {"system.slice/memory.max": f"{900 * MIB}", "system.slice/mirrord.service/memory.max": f"{300 * MIB}"},
            300 * MIB,
            id="unit",
        ),
        pytest.param(
            "0::/system.slice/mirrord.service\n",
            {"system.slice/memory.max": f"{200 * MIB}", "system.slice/mirrord.service/memory.max": "max"},
            200 * MIB,
            id="slice-above-the-unit",
        ),
        pytest.param("0::/../../elsewhere\n", {"memory.max": f"{64 * MIB}"}, 64 * MIB, id="path-outside-the-container"),
        pytest.param(
            "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n",
            {"memory/memory.limit_in_bytes": f"{128 * MIB}"},
            128 * MIB,
            id="first-version-in-a-container",
        ),
        pytest.param(
            "4:memory:/\n", {"memory/memory.limit_in_bytes": f"{NONE_IN_PAGES}"}, None, id="first-version-without-limit"
        ),
        pytest.param("nonsense\n", {"memory.max": f"{MIB}"}, None, id="nonsense"),
        pytest.param("0::/\n", {"memory.max": "many"}, None, id="no-number"),
    ],
)
def test_memory_limit_is_the_least_of_the_control_groups(
    group: str, limits: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    root = system(tmp_path, group, **limits)

    assert memory_limit(root) == expected


def test_memory_limit_is_unknown_where_the_system_has_no_control_groups(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None
