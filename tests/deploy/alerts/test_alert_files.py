"""Every alert can be acted on: it says what is the matter, has a runbook, is proved, and is built on what is there."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
import yaml

from mirrord.planning.memory import ImageState
from mirrord.telemetry.catalog import (
    BLOB_OUTCOMES,
    CODE_CLASSES,
    GUARD_REASONS,
    INTEGRITY_REASONS,
    METRICS,
    RETRY_REASONS,
    RUN_RESULTS,
    SAVED_REASONS,
    SKIP_REASONS,
)
from tests.deploy.alerts.alertfiles import DURATION, FILES, ROOT, alerts, expectations, rules_of, shortened

RUNBOOKS = ROOT / "docs/runbooks"
REFERENCE = ROOT / "docs/reference/alerts.md"
URL = "https://github.com/mirrord/mirrord/blob/main/docs/runbooks/"
SEVERITIES = ("page", "ticket", "info")
HEADINGS = ["What it means", "Who notices", "First look", "Causes", "Silence", "Escalate"]
INCIDENTS = ("registry-down", "token-revoked", "state-lost", "poisoned-tag", "mirrord-compromised")
FOREIGN = {"up": set[str](), "process_start_time_seconds": set[str](), "process_resident_memory_bytes": set[str]()}
"""Metrics of Prometheus and of the process, which mirrord's catalogue does not have."""
OF_TARGETS = {"job", "instance", "pod", "namespace"}
"""Labels that Prometheus or Kubernetes give to everything."""
VALUES: dict[str, set[str]] = {
    "state": {str(state) for state in ImageState},
    "reason": {*GUARD_REASONS, *INTEGRITY_REASONS, *RETRY_REASONS, *SAVED_REASONS, *SKIP_REASONS},
    "result": {str(result) for result in RUN_RESULTS},
    "outcome": {str(outcome) for outcome in BLOB_OUTCOMES},
    "code_class": set(CODE_CLASSES),
}

DASHBOARDS = {
    board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
    for board in (json.loads(file.read_text("utf-8")) for file in (ROOT / "grafana/dashboards").glob("*.json"))
}
"""The variables of each dashboard."""
KNOWN: dict[str, set[str]] = {**{spec.name: set(spec.labels) for spec in METRICS}, **FOREIGN}
RECORDED = {rule["record"]: rule for file in FILES for rule in rules_of(file) if "record" in rule}
ALERTS = alerts()

each_alert = pytest.mark.parametrize("name", ALERTS)


def texts() -> dict[str, str]:
    """Return all that is evaluated, by alert or record: the expression, and queries in what is said."""
    found = {name: rule["expr"] for name, rule in RECORDED.items()}
    for name, rule in ALERTS.items():
        queries = re.findall(r'printf "((?:[^"\\]|\\.)*)"', " ".join(rule["annotations"].values()))
        found[name] = " ".join([rule["expr"], *(query for query in queries if "mirrord" in query)])
    return found


@each_alert
def test_alert_says_what_is_the_matter_and_where_to_look(name: str) -> None:
    rule = ALERTS[name]
    links = rule["annotations"]

    assert name.startswith("Mirrord")
    assert rule["labels"] in [{"severity": severity} for severity in SEVERITIES]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert len(rule["annotations"]["summary"].splitlines()) == 1
    found = re.fullmatch(r"/d/([\w-]+)(?:\?var-(\w+)=\{\{ \$labels\.(\w+) \| urlquery \}\})?", links["dashboard_url"])
    assert found is not None
    uid, variable, label = found.groups()
    assert variable == label
    assert uid in DASHBOARDS
    assert variable is None or variable in DASHBOARDS[uid]


@each_alert
def test_alert_has_a_runbook_that_can_be_followed_at_night(name: str) -> None:
    rule = ALERTS[name]
    assert rule["annotations"]["runbook_url"] == f"{URL}{name.lower()}.md"
    text = (RUNBOOKS / f"{name.lower()}.md").read_text("utf-8")
    prose = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)

    assert re.findall(r"^# (.+)$", prose, re.MULTILINE) == [name]
    assert re.findall(r"^## (.+)$", prose, re.MULTILINE) == HEADINGS
    for heading, following in pairwise([*HEADINGS, ""]):
        section = text.partition(f"\n## {heading}\n")[2].partition(f"\n## {following}\n" if following else "\0")[0]
        assert section.strip(), heading
    after = f", after {in_words(rule['for'])}." if "for" in rule else ", at once."
    assert f"\n**{rule['labels']['severity']}**{after}\n" in text


def in_words(span: str) -> str:
    """Return a span as runbooks say it."""
    found = DURATION.fullmatch(span)
    assert found is not None
    unit = {"m": "minute", "h": "hour"}[found[2]]
    return f"{found[1]} {unit}{'' if found[1] == '1' else 's'}"


def test_runbooks_are_those_of_alerts_and_incidents() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")}

    assert pages == {"README", *INCIDENTS, *(name.lower() for name in ALERTS)}


def test_index_of_runbooks_has_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((.+)\) \| (\w+) \|$", (RUNBOOKS / "README.md").read_text("utf-8"), re.MULTILINE)

    assert rows == [(name, f"{name.lower()}.md", rule["labels"]["severity"]) for name, rule in ALERTS.items()]


def test_page_of_alerts_is_that_of_the_files() -> None:
    text = REFERENCE.read_text("utf-8")
    rows = re.findall(r"^\| \[`(\w+)`\]\(\.\./runbooks/(.+)\) \| (\w+) \| .+ \| (\S+) \|$", text, re.MULTILINE)

    assert rows == [
        (name, f"{name.lower()}.md", rule["labels"]["severity"], rule.get("for", "-")) for name, rule in ALERTS.items()
    ]


def test_what_the_page_of_alerts_says_to_change_is_there() -> None:
    section = REFERENCE.read_text("utf-8").partition("\n## Change them\n")[2].partition("\n## ")[0]
    service, once = (file.read_text("utf-8") for file in FILES)

    assert "`0.01`" in section
    assert service.count(" * 0.01") == 8
    assert "`93600`" in section
    assert once.count("93600\n") == 3
    assert "dashboard_url: /d/" in section
    assert f"{service}{once}".count("dashboard_url: /d/") == len(ALERTS)
    assert "`interval: 1m`" in section
    assert "interval: 1m " in service


@each_alert
def test_alert_is_proved_to_fire_and_not_to_fire(name: str) -> None:
    """Each firing alert of a case has all its labels and texts: promtool compares them."""
    fires = [alert for alertname, there in expectations() if alertname == name for alert in there]
    rests = [alertname for alertname, there in expectations() if alertname == name and not there]

    assert fires
    assert rests
    for alert in fires:
        assert alert["exp_labels"]["severity"] == ALERTS[name]["labels"]["severity"]
        told = alert["exp_annotations"]
        assert set(told) == {"summary", "description", "runbook_url", "dashboard_url"}
        assert not re.search(r"\{\{|<no value>|%!|error", f"{told['summary']} {told['description']}"), "not filled in"
        assert not re.search(r" {2}| \.|\.[A-Z]", f"{told['summary']} {told['description']}"), "not a sentence"


def test_cases_are_about_alerts_that_exist() -> None:
    assert {alertname for alertname, _ in expectations()} == set(ALERTS)


@pytest.mark.parametrize("name", texts())
def test_expressions_use_metrics_and_labels_that_there_are(name: str) -> None:
    text = texts()[name]
    used = set(re.findall(r"\b(?:rule:)?mirrord_\w+(?::\w+)?", text)) | {
        word for word in FOREIGN if word in text.split()
    }
    assert used
    strange = used - set(KNOWN) - set(RECORDED)
    labels: set[str] = set().union(*(KNOWN.get(metric, {"rule"}) for metric in used)) | OF_TARGETS | {"alertname"}

    assert not strange
    for metric, selector in re.findall(r"\b([a-z][\w:]*|ALERTS)\{([^}]*)\}", text):
        for label, value in re.findall(r'(\w+)(?:=~|!~|!=|=)"?([^",]*)', selector):
            allowed = labels | {"alertstate"} if metric == "ALERTS" else KNOWN.get(metric, {"rule"}) | OF_TARGETS
            assert label in allowed, f"{metric} has no label {label}"
            if label in VALUES:
                assert set(value.split("|")) <= VALUES[label], f"{label} is never {value}"
    for grouping in re.findall(r"\b(?:by|without|on|ignoring) ?\(([^)]*)\)", text):
        for label in filter(None, (part.strip() for part in grouping.split(","))):
            assert label in labels, f"{label} is no label of {sorted(used)}"


@each_alert
def test_labels_that_texts_name_are_labels_of_the_alert(name: str) -> None:
    """A label that the expression takes away reads as nothing in a message."""
    fires = [alert for alertname, there in expectations() if alertname == name for alert in there]
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(ALERTS[name]["annotations"].values())))
    optional = set(re.findall(r"\{\{-? ?(?:if|with) \$labels\.(\w+)", " ".join(ALERTS[name]["annotations"].values())))

    for alert in fires:
        assert named - optional <= set(alert["exp_labels"])


def test_files_are_what_an_operator_takes_as_the_spec_of_a_rule() -> None:
    for file in FILES:
        content = yaml.safe_load(file.read_text("utf-8"))
        assert set(content) == {"groups"}
        for group in content["groups"]:
            assert {"name", "rules"} <= set(group) <= {"name", "rules", "interval"}
            for rule in group["rules"]:
                allowed = {"record", "expr"} if "record" in rule else {"alert", "expr", "for", "labels", "annotations"}
                assert set(rule) <= allowed
                assert all(
                    isinstance(value, str)
                    for part in ("labels", "annotations")
                    for value in rule.get(part, {}).values()
                )
    names = [group["name"] for file in FILES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    assert len(names) == len(set(names)), "both files may be loaded together"


def test_shortened_files_differ_in_spans_alone() -> None:
    before, after = (yaml.safe_load(FILES[0].read_text("utf-8")), shortened(FILES[0], 600))
    changed: defaultdict[str, list[Any]] = defaultdict(list)
    for old, new in zip(before["groups"], after["groups"], strict=True):
        for one, other in zip(old["rules"], new["rules"], strict=True):
            for key in one:
                if one[key] != other[key]:
                    changed[key].append((one[key], other[key]))

    assert set(changed) == {"for", "expr"}
    assert ("1h", "6000ms") in changed["for"]
    assert all(DURATION.sub("", old) == DURATION.sub("", new) for old, new in changed["expr"])
    assert after["groups"][0]["interval"] == "100ms"
