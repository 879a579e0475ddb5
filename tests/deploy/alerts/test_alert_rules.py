"""Debian's promtool takes the alerts, and each fires when it should, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.alerts.alertfiles import CASES, FILES, alerts, rules_of
from tests.integration.conftest import RequireTool
from tests.integration.prometheus import promtool

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def promtool_is_there(require_tool: RequireTool) -> None:
    require_tool("promtool")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_promtool_takes_the_rules(file: Path) -> None:
    assert f"{len(rules_of(file))} rules found" in promtool("check", "rules", str(file))


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name.partition(".")[0])
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(file))


@pytest.mark.parametrize(
    ("alert", "before", "after"),
    [
        pytest.param("MirrordNotFresh", "for: 2m", "for: 3m", id="later"),
        pytest.param("MirrordFreshnessBurnsFast", "/ 60 > 14.4", "/ 60 > 8", id="sooner"),
        pytest.param("MirrordDown", "up == 0 and", "up == 0 unless", id="of-others"),
        pytest.param("MirrordRunOverdue", "+ 3600", "+ 7200", id="more-patient"),
        pytest.param("MirrordThrottled", "> 0.5", "> 0.4", id="less-patient"),
        pytest.param("MirrordImagesFailed", "and max without (instance, pod)", "and max without (pod)", id="by-pod"),
    ],
)
def test_cases_notice_a_change_of_a_rule(alert: str, before: str, after: str, tmp_path: Path) -> None:
    """What the cases prove, they prove of this file: one that differs a little does not pass."""
    text = FILES[0].read_text("utf-8")
    start = text.index(f"- alert: {alert}\n")
    at = text.index(before, start)
    assert at < text.index("annotations:", start), "the change is to this alert"
    (tmp_path / "grafana/alerts").mkdir(parents=True)
    (tmp_path / "grafana/alerts/mirrord.yaml").write_text(f"{text[:at]}{after}{text[at + len(before) :]}", "utf-8")
    (tmp_path / "tests/deploy/alerts").mkdir(parents=True)
    (case,) = [file for file in CASES if f"alertname: {alert}\n" in file.read_text("utf-8")]
    moved = tmp_path / "tests/deploy/alerts" / case.name
    moved.write_text(case.read_text("utf-8"), "utf-8")

    assert alert in alerts()
    with pytest.raises(AssertionError, match=f"alertname: {alert}, "):
        promtool("test", "rules", str(moved))
