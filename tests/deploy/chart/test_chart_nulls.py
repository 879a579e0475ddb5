"""A value that is null (nothing behind the colon) is refused in words that help, or means nothing odd.

Helm takes the default of such a value away. A template that finds nothing there would end with a fault of its own,
or read it as 0 or false: no Job would stay to be looked at, and the pod get a token of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import helm_python
import pytest
import yaml

from tests.deploy.chart import chartcases as cases
from tests.deploy.chart.objectschemas import check
from tests.deploy.chart.rendering import CHART, CRONJOB, SERVICE, Object, Values, only, render, render_anew, with_values

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SURROUNDINGS: dict[str, Values] = {
    "service": with_values(SERVICE, cases.INGRESS, cases.ROUTE, cases.SERVICE_MONITOR, cases.RULES, cases.NETWORK),
    "cronjob": with_values(CRONJOB, cases.RULES, cases.NETWORK),
}
NEEDED = {"config", "token.existingSecret", "ingress.hosts", "httpRoute.parentRefs"}
"""Without them there is nothing to install, which is said in other words."""
PASSED_ON = {"podSecurityContext.seccompProfile.type"}
"""Needed by what is around it, in a mapping that the chart passes on as it is: the server says so."""


def paths(values: Values, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that has a default, and of every mapping of them."""
    for key, value in values.items():
        yield (*above, key)
        if isinstance(value, Mapping):
            yield from paths(value, (*above, key))


def nulled(surrounding: Values, path: tuple[str, ...]) -> dict[str, Any]:
    """Return values of which one is null."""
    null: Any = None
    for key in reversed(path):
        null = {key: null}
    return with_values(surrounding, null)


def outcome(values: Values) -> list[Object] | str:
    """Return the objects, or what Helm says against the values."""
    try:
        return render_anew(values)
    except helm_python.HelmError as error:
        return str(error)


@pytest.mark.parametrize("mode", SURROUNDINGS)
def test_null_is_refused_by_its_name_or_makes_valid_objects(mode: str) -> None:
    usual = {made["kind"]: made for made in render(SURROUNDINGS[mode])}
    tried, faults = 0, []
    for path in paths(DEFAULTS):
        name = ".".join(path)
        if name in NEEDED | PASSED_ON:
            continue
        tried += 1
        made = outcome(nulled(SURROUNDINGS[mode], path))
        if isinstance(made, str):
            faults += [] if f"{name} is null: leave it out to have the default" in made else [f"{name}: {made}"]
            continue
        for changed in made:
            if changed != usual[changed["kind"]]:
                check(changed)

    assert faults == []
    assert tried > 150


@pytest.mark.parametrize("key", ["ttlSecondsAfterFinished", "startingDeadlineSeconds", "activeDeadlineSeconds"])
def test_null_is_no_limit_of_time_for_runs(key: str) -> None:
    """Read as 0, Jobs would be gone as soon as they end, or never begin."""
    made = only(render(with_values(CRONJOB, {"cronjob": {key: None}})), "CronJob")["spec"]

    assert key not in {**made, **made["jobTemplate"]["spec"]}


@pytest.mark.parametrize("key", ["podLabels", "commonLabels", "podAnnotations", "nodeSelector", "tolerations"])
def test_null_is_nothing_where_the_default_is_empty(key: str) -> None:
    assert render(with_values(SERVICE, {key: None})) == render(SERVICE)


def test_nulls_are_named_all_at_once() -> None:
    said = outcome(with_values(SERVICE, {"image": None, "token": {"key": None}, "probes": {"liveness": None}}))

    assert "3 of the values cannot be used:" in said
    assert "--reset-then-reuse-values" in said  # with the other option, values that are new are missing likewise
