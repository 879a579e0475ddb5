"""Values that cannot work are refused before anything is installed, in words that help."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.chart import chartcases as cases
from tests.deploy.chart.rendering import CONFIG, CRONJOB, SERVICE, Values, fault, render, with_values

SCHEMA: dict[str, tuple[Values, str]] = {
    "mode-distributed": ({"mode": "distributed"}, "at '/mode': value must be one of 'service', 'cronjob'"),
    "unknown-key": ({"podDisruptionBudget": {}}, "additional properties 'podDisruptionBudget' not allowed"),
    "replicas": ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    "misspelt-inside": (
        {"persistence": {"sizes": "1Gi"}},
        "at '/persistence': additional properties 'sizes' not allowed",
    ),
    "size-number": ({"persistence": {"size": 5}}, "at '/persistence/size': got number, want string"),
    "shared-volume": ({"persistence": {"accessMode": "ReadWriteMany"}}, "one of 'ReadWriteOnce', 'ReadWriteOncePod'"),
    "truth-as-text": ({"token": {"generate": "yes"}}, "at '/token/generate': got string, want boolean"),
    "digest": ({"image": {"digest": "abc"}}, "at '/image/digest': 'abc' does not match pattern"),
    "log-level": ({"log": {"level": "loud"}}, "at '/log/level': value must be one of 'debug', 'info'"),
    "drain-too-long": ({"drainTimeoutSeconds": 3601}, "at '/drainTimeoutSeconds': maximum: got 3,601, want 3,600"),
    "secret-without-key": ({"secretEnv": [{"name": "A", "secret": "b"}]}, "missing property 'key'"),
    "secret-files-without-keys": ({"secretFiles": {"a": {"secret": "b", "keys": []}}}, "minItems: got 0, want 1"),
    "secret-files-name": ({"secretFiles": {"../a": {"secret": "b", "keys": ["c"]}}}, "invalid propertyName '../a'"),
    "role": ({"identity": {"aws": {"roleArn": "mirrord"}}}, "at '/identity/aws/roleArn'"),
    "schedule": ({"cronjob": {"schedule": "hourly"}}, "at '/cronjob/schedule': 'hourly' does not match pattern"),
    "label-number": ({"podLabels": {"team": 7}}, "at '/podLabels/team': got number, want string"),
    "port": ({"service": {"port": 70000}}, "at '/service/port': maximum: got 70,000, want 65,535"),
    "alert-name": ({"monitoring": {"prometheusRule": {"disabled": ["NotFresh"]}}}, "does not match pattern '^Mirrord"),
    "config-unknown-key": (
        {"config": {"rules": [{"name": "a", "source": "b", "targets": ["c"], "shedule": "1h"}]}},
        "at '/config/rules/0': additional properties 'shedule' not allowed",
    ),
    "config-tag-number": (
        {"config": {"rules": [{"name": "a", "source": "b", "targets": ["c"], "tags": {"include": [1.20]}}]}},
        "at '/config/rules/0/tags/include/0': got number, want string",
    ),
    "variable-number": ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value': got number, want string"),
    "config-list": ({"config": []}, "at '/config': got array, want string or object"),
}
RULES: dict[str, tuple[Values, str]] = {
    "no-token": ({"token": {"existingSecret": ""}}, "token: page and API need a token. Make one (kubectl -n mirrors"),
    "two-tokens": ({"token": {"generate": True}}, "token.existingSecret and token.generate are both set"),
    "two-configs": ({"existingConfigMap": {"name": "a"}}, "config and existingConfigMap.name are both set"),
    "config-no-yaml": ({"config": "rules: ["}, "config is no YAML mapping"),
    "grace-too-short": (
        {"terminationGracePeriodSeconds": 25},
        "terminationGracePeriodSeconds is 25, and must be more than drainTimeoutSeconds (25)",
    ),
    "claim-unused": (
        {"persistence": {"enabled": False, "existingClaim": "a"}},
        "persistence.existingClaim is set, and persistence.enabled is false",
    ),
    "two-cas": ({"extraCA": {"secret": "a", "configMap": "b"}}, "three places for one thing"),
    "ca-is-none": ({"extraCA": {"pem": "MIIB"}}, "extraCA.pem holds no certificate"),
    "ca-complete-of-nothing": (
        {"extraCA": {"complete": True}},
        "extraCA.complete is true, but there are no certificates",
    ),
    "identity-without-account": (
        with_values(cases.AWS, {"serviceAccount": {"create": False}}),
        "identity is set, but serviceAccount.create is false",
    ),
    "two-monitors": (with_values(cases.SERVICE_MONITOR, cases.POD_MONITOR), "every series would be there twice"),
    "ingress-without-hosts": ({"ingress": {"enabled": True}}, "ingress.hosts is empty"),
    "route-without-gateway": ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty"),
    "variable-of-the-chart": (
        {"extraEnv": [{"name": "MIRRORD_STATE", "value": "sqlite:///x"}]},
        "the variable MIRRORD_STATE is set twice",
    ),
    "variable-twice": (
        {"extraEnv": [{"name": "A"}], "secretEnv": [{"name": "A", "secret": "b", "key": "c"}]},
        "the variable A is set twice",
    ),
    "name-with-a-digit": ({"fullnameOverride": "1st"}, "the name 1st begins with a digit, which a Service may not"),
    "volume-of-the-chart": ({"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}, "a volume with the name tmp already"),
}


@pytest.mark.parametrize(("values", "words"), SCHEMA.values(), ids=SCHEMA)
def test_schema_says_where_a_value_is_wrong(values: Values, words: str) -> None:
    said = fault(with_values(SERVICE, values))

    assert "values don't meet the specifications of the schema" in said
    assert words in said


@pytest.mark.parametrize(("values", "words"), RULES.values(), ids=RULES)
def test_values_that_do_not_go_together_are_refused(values: Values, words: str) -> None:
    said = fault(with_values(SERVICE, values))

    assert "1 of the values cannot be used:" in said
    assert words in said


@pytest.mark.parametrize("switch", ["ingress", "httpRoute", "monitoring.serviceMonitor", "monitoring.podMonitor"])
def test_cronjob_has_nothing_to_reach(switch: str) -> None:
    values: dict[str, Any] = {"enabled": True, "hosts": ["a"]} if switch == "ingress" else {"enabled": True}
    values |= {"parentRefs": [{"name": "a"}]} if switch == "httpRoute" else {}
    for key in reversed(switch.split(".")):
        values = {key: values}

    assert f"{switch}.enabled needs mode service" in fault(with_values(CRONJOB, values))


def test_defaults_alone_are_refused_with_all_that_is_missing() -> None:
    said = fault({})

    assert "2 of the values cannot be used:" in said
    assert "--set-file config=mirrord.yaml" in said
    assert "token.existingSecret=mirrord-token" in said


@pytest.mark.parametrize(
    "values",
    [
        {"proxy": {"https": "http://user:hunter22@proxy:3128"}},
        {"extraCA": {"pem": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nhunter22"}},
    ],
    ids=["proxy", "key"],
)
def test_a_secret_in_a_value_is_refused_and_not_repeated(values: Values) -> None:
    said = fault(with_values(SERVICE, values))

    assert "1 of the values cannot be used:" in said
    assert "hunter22" not in said


@pytest.mark.parametrize("values", [{"global": {"any": "thing"}}, {"config": {"x-own": {"a": 1}}}], ids=["global", "x"])
def test_schema_is_no_stricter_than_helm_and_mirrord(values: Values) -> None:
    assert render(with_values({"config": CONFIG, "token": {"existingSecret": "a"}}, values))
