"""The alerts as their files say them, and the cases that promtool is given for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FILES = (ROOT / "grafana/alerts/mirrord.yaml", ROOT / "grafana/alerts/mirrord-once.yaml")
CASES = tuple(sorted(Path(__file__).parent.glob("*.test.yaml")))

DURATION = re.compile(r"(\d+)(ms|[smhdw])")
LOOKS_BACK = re.compile(r"(last_over_time\(mirrord_\w+(?:\{[^}]*\})?)\[5m\]")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def rules_of(file: Path) -> list[dict[str, Any]]:
    """Return the rules of a file, alerts and records, in order."""
    return [rule for group in yaml.safe_load(file.read_text("utf-8"))["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert by its name."""
    return {rule["alert"]: rule for file in FILES for rule in rules_of(file) if "alert" in rule}


def expectations() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield for each moment that a case looks at: the name of an alert, and the alerts that are to be there."""
    for file in CASES:
        for test in yaml.safe_load(file.read_text("utf-8"))["tests"]:
            for moment in test["alert_rule_test"]:
                yield moment["alertname"], moment["exp_alerts"]


def shortened(file: Path, factor: int) -> dict[str, Any]:
    """Return a file of rules with each `for`, interval and window divided, down to 100 ms; nothing else differs.

    A window in which what mirrord said last is looked for has room for three scrapes of a second each.
    """

    def shorten(text: str) -> str:
        return DURATION.sub(lambda found: f"{max(100, int(found[1]) * _MILLISECONDS[found[2]] // factor)}ms", text)

    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    for group in content["groups"]:
        if "interval" in group:
            group["interval"] = shorten(group["interval"])
        for rule in group["rules"]:
            expr = LOOKS_BACK.sub(r"\1[3000ms]", rule["expr"])
            rule["expr"] = re.sub(r"\[(?!3000ms)[^\]]+\]", lambda found: shorten(found[0]), expr)
            if "for" in rule:
                rule["for"] = shorten(rule["for"])
    return content
