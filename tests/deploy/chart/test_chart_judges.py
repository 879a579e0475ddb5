"""What judges the chart finds the faults that it looks for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.deploy.chart import chartcases as cases
from tests.deploy.chart.objectschemas import check
from tests.deploy.chart.podsecurity import violations
from tests.deploy.chart.rendering import CRONJOB, SERVICE, only, render, with_values, worker

Change = Callable[[Any], object]
ALL = with_values(SERVICE, cases.INGRESS, cases.ROUTE, cases.RULES, cases.SERVICE_MONITOR, cases.NETWORK)

UNSAFE: dict[str, Change] = {
    "host-network": lambda spec: spec.update(hostNetwork=True),
    "host-path": lambda spec: spec["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
    "sysctls": lambda spec: spec["securityContext"].update(sysctls=[{"name": "a", "value": "1"}]),
    "root": lambda spec: spec["securityContext"].update(runAsUser=0),
    "perhaps-root": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "no-seccomp": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "unconfined": lambda spec: spec["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "escalation": lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "privileged": lambda spec: spec["containers"][0]["securityContext"].update(privileged=True),
    "capabilities-kept": lambda spec: spec["containers"][0]["securityContext"].update(capabilities={}),
    "capability": lambda spec: spec["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "host-port": lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80),
    "second-container": lambda spec: spec.update(initContainers=[{"name": "init"}]),
}
WRONG: dict[str, tuple[str, Change]] = {
    "unknown-field": ("StatefulSet", lambda made: made["spec"].update(replica=1)),
    "text-for-number": ("StatefulSet", lambda made: made["spec"].update(replicas="1")),
    "unknown-deep": ("StatefulSet", lambda made: made["spec"]["template"]["spec"]["containers"][0].update(arg=[])),
    "port-name": ("Ingress", lambda made: made["spec"]["rules"][0]["http"]["paths"][0].pop("pathType")),
    "policy": ("NetworkPolicy", lambda made: made["spec"]["egress"][0].update(port=[53])),
    "monitor-interval": ("ServiceMonitor", lambda made: made["spec"]["endpoints"][0].update(interval="30")),
    "monitor-field": ("ServiceMonitor", lambda made: made["spec"]["endpoints"][0].update(targetport=8080)),
    "rule-without-expr": ("PrometheusRule", lambda made: made["spec"]["groups"][0]["rules"][0].pop("expr")),
    "rule-label": ("PrometheusRule", lambda made: made["spec"]["groups"][0]["rules"][1]["labels"].update(a=1)),
    "route-port": ("HTTPRoute", lambda made: made["spec"]["rules"][0]["backendRefs"][0].update(port="http")),
    "route-api": ("HTTPRoute", lambda made: made.update(apiVersion="gateway.networking.k8s.io/v1beta1")),
}


@pytest.mark.parametrize("change", UNSAFE.values(), ids=UNSAFE)
def test_a_pod_that_breaks_the_restricted_standard_is_found(change: Change) -> None:
    spec = copy.deepcopy(worker(render(SERVICE))["spec"])
    change(spec)

    assert violations(spec)


@pytest.mark.parametrize(("kind", "change"), WRONG.values(), ids=WRONG)
def test_an_object_that_its_api_would_refuse_is_found(kind: str, change: Change) -> None:
    made = copy.deepcopy(only(render(ALL), kind))
    check(made)
    change(made)

    with pytest.raises(jsonschema.ValidationError):
        check(made)


def test_a_cluster_may_choose_the_user() -> None:
    """As OpenShift does; a value of null takes the chart's own away."""
    chosen = {"podSecurityContext": dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))}
    for values in (SERVICE, CRONJOB):
        spec = worker(render(with_values(values, chosen)))["spec"]

        assert spec["securityContext"].keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}
        assert violations(spec) == []
