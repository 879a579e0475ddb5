"""The chart's files agree with each other, and with what they are copied or made from."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from mirrord import __version__
from tests.deploy.chart import chartcases as cases
from tests.deploy.chart.rendering import (
    CHART,
    CRONJOB,
    ROOT,
    SERVICE,
    Values,
    chart,
    of_kind,
    only,
    render,
    with_values,
)
from tests.integration.prometheus import promtool

SCRIPT = ROOT / "scripts/chart_readme.py"
MODES = {"service": (SERVICE, "mirrord"), "cronjob": (CRONJOB, "mirrord-once")}
each_mode = pytest.mark.parametrize(("values", "stem"), MODES.values(), ids=MODES)


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_files_that_are_made_are_current(script: dict[str, Any]) -> None:
    """`make chart` makes them anew."""
    stale = [
        file.name for file, text in script["texts"]().items() if not file.exists() or file.read_text("utf-8") != text
    ]

    assert stale == []
    assert script["surplus"]() == []


def test_values_without_a_description_are_told() -> None:
    read = runpy.run_path(str(SCRIPT))["read_values"]

    with pytest.raises(ValueError, match=r"without a description: b\.d"):
        read("# -- first\na: 1\nb:\n  # -- third,\n  # on two lines\n  c: 2\n  d: 3\n")
    (value,) = read("b:\n  # -- third,\n  # on two lines\n  c: 2\n")
    assert (value.name, value.default, value.description) == ("b.c", 2, "third, on two lines")


def test_schema_knows_the_defaults_and_nothing_besides() -> None:
    def compare(values: Any, schema: Any, path: str) -> list[str]:
        properties = schema.get("properties")
        if schema.get("additionalProperties") is not False or properties is None:
            return []
        found = [f"{path}.{key}" for key in set(values) ^ (set(properties) - {"global", *optional})]
        return found + [
            fault
            for key, value in values.items()
            if isinstance(value, dict)
            for fault in compare(value, properties[key], f"{path}.{key}")
        ]

    optional = {"initialDelaySeconds", "successThreshold", "claims"}
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))

    assert compare(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")), schema, "") == []


@pytest.mark.parametrize("values", [{}, *cases.CASES.values()], ids=["defaults", *cases.CASES])
def test_helm_lint_finds_nothing(values: Values) -> None:
    report = helm_python.lint(CHART, dict(values), strict=True)

    assert report["total_charts_linted"] == 1
    assert (report["messages"], report["errors"]) == ([], [])


def test_versions_are_that_of_mirrord() -> None:
    assert chart().metadata["version"] == __version__
    assert chart().metadata["appVersion"] == __version__


def test_package_carries_all_that_is_rendered_and_nothing_else(tmp_path: Path) -> None:
    archive = helm_python.package(CHART, destination=tmp_path)

    packed = helm_python.Chart.load(archive)

    assert {file["name"] for file in packed.files} == {
        *(".helmignore", "README.md"),
        *(f"files/{file.parent.name}/{file.name}" for folder in ("alerts", "dashboards") for file in grafana(folder)),
    }
    assert packed.render(dict(SERVICE), name="a", namespace="b").keys() == chart().render(dict(SERVICE)).keys()


def grafana(folder: str) -> list[Path]:
    """Return the files of a folder of grafana/."""
    return sorted(file for file in (ROOT / "grafana" / folder).iterdir() if file.suffix in {".json", ".yaml"})


@each_mode
def test_alerts_are_those_of_the_mode(values: Values, stem: str) -> None:
    rule = only(render(with_values(values, {"monitoring": {"prometheusRule": {"enabled": True}}})), "PrometheusRule")

    assert rule["spec"] == yaml.safe_load((ROOT / f"grafana/alerts/{stem}.yaml").read_text("utf-8"))
    assert len(rule["spec"]["groups"][0]["rules"]) > 1


@each_mode
def test_dashboards_arrive_byte_for_byte(values: Values, stem: str) -> None:
    made = of_kind(render(with_values(values, cases.RULES)), "ConfigMap")
    (board,) = [one for one in made if one["metadata"]["labels"].get("grafana_dashboard") == "1"]

    assert board["data"] == {f"{stem}.json": (ROOT / f"grafana/dashboards/{stem}.json").read_text("utf-8")}
    assert board["metadata"]["annotations"] == {"grafana_folder": "mirrord"}
    assert board["metadata"]["namespace"] == "monitoring"
    assert len(json.dumps(board)) < 1024 * 1024  # what a ConfigMap may hold


def alerts_of(values: Values) -> dict[str, Any]:
    """Return the alerts that are rendered, by name."""
    rule = only(render(values), "PrometheusRule")
    return {one["alert"]: one for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one}


def test_alerts_get_labels_and_can_be_left_out() -> None:
    plain = alerts_of(with_values(SERVICE, {"monitoring": {"prometheusRule": {"enabled": True}}}))
    first, *others = plain
    off = {"monitoring": {"prometheusRule": {"enabled": True, "disabled": [first], "alertLabels": {"team": "a"}}}}

    changed = alerts_of(with_values(SERVICE, off))

    assert list(changed) == others
    for name in others:
        assert changed[name]["labels"] == {**plain[name]["labels"], "team": "a"}
        assert {**changed[name], "labels": {}} == {**plain[name], "labels": {}}


@pytest.mark.integration
@each_mode
def test_promtool_takes_the_alerts_that_are_rendered(
    values: Values, stem: str, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("promtool")
    rule = only(render(with_values(values, cases.RULES)), "PrometheusRule")
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": rule["spec"]["groups"]}), "utf-8")

    assert "SUCCESS" in promtool("check", "rules", str(file))
