"""What the page on Kubernetes shows works with the chart."""

from __future__ import annotations

import re

import yaml

from tests.deploy.chart.objectschemas import check
from tests.deploy.chart.rendering import CHART, ROOT, only, render, worker

PAGE = ROOT / "docs/how-to/run-on-kubernetes.md"
FENCES = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
CONFIG = next(text for language, text in FENCES if language == "yaml")
SERVICE, CRONJOB = (yaml.safe_load(text) for language, text in FENCES if language == "yml")


def test_values_of_the_page_make_a_mirror() -> None:
    objects = render({**SERVICE, "config": CONFIG}, name="mirrord", namespace="mirrord")

    for made in objects:
        check(made)
    assert only(objects, "StatefulSet")["metadata"]["name"] == "mirrord"
    assert only(objects, "ServiceAccount")["metadata"]["name"] == "mirrord"  # whom the role trusts
    assert only(objects, "Service")["spec"]["ports"][0]["port"] == 8080
    assert only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "state"


def test_files_that_the_configuration_of_the_page_names_are_mounted() -> None:
    named = set(re.findall(r"/etc/mirrord/([\w/.-]+)", CONFIG))
    for values in ({**SERVICE, "config": CONFIG}, {**CRONJOB, "config": CONFIG}):
        volumes = worker(render(values))["spec"]["volumes"]
        sources = next(volume["projected"]["sources"] for volume in volumes if volume["name"] == "etc")

        assert named <= {item["path"] for source in sources for item in next(iter(source.values()))["items"]}
    assert named


def test_configuration_of_the_page_is_valid_as_a_mapping_too() -> None:
    assert render({**SERVICE, "config": yaml.safe_load(CONFIG)})


def test_values_that_pages_name_exist() -> None:
    known = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    pages = PAGE.read_text("utf-8") + (CHART / "README.md").read_text("utf-8").partition("## Values")[0]
    named = set(re.findall(r"`((?:\w+\.)+\w+)(?:: [^`]+)?`", pages))
    named = {name for name in named if name.partition(".")[0] in known}

    missing = []
    for name in sorted(named):
        place = known
        for key in name.split("."):
            place = place.get(key, {}) if isinstance(place, dict) and key in place else None
            if place is None:
                missing.append(name)
                break
    assert missing == []
    assert len(named) > 15
