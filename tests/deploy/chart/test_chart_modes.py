"""What each value of the chart does."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from mirrord.config.process import load_process_settings
from tests.deploy.chart import chartcases as cases
from tests.deploy.chart.rendering import (
    CERTIFICATE,
    CONFIG,
    CRONJOB,
    SERVICE,
    container,
    notes,
    of_kind,
    only,
    render,
    render_anew,
    variables,
    with_values,
    worker,
)


def test_service_is_one_pod_in_a_stateful_set() -> None:
    made = only(render(SERVICE), "StatefulSet")

    assert made["spec"]["replicas"] == 1
    assert made["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert of_kind(render(SERVICE), "PersistentVolumeClaim") == []


def test_service_with_a_claim_that_is_there_makes_none() -> None:
    objects = render(with_values(SERVICE, {"persistence": {"existingClaim": "mine"}}))

    assert "volumeClaimTemplates" not in only(objects, "StatefulSet")["spec"]
    assert {"name": "state", "persistentVolumeClaim": {"claimName": "mine"}} in worker(objects)["spec"]["volumes"]


def test_service_without_a_volume_has_a_bounded_directory() -> None:
    objects = render(with_values(SERVICE, {"persistence": {"enabled": False, "size": "500Mi"}}))

    assert "volumeClaimTemplates" not in only(objects, "StatefulSet")["spec"]
    assert {"name": "state", "emptyDir": {"sizeLimit": "500Mi"}} in worker(objects)["spec"]["volumes"]


def test_cronjob_runs_once_never_twice_at_once_and_gives_up_where_trying_is_useless() -> None:
    made = only(render(CRONJOB), "CronJob")["spec"]
    job = made["jobTemplate"]["spec"]
    rules = job["podFailurePolicy"]["rules"]

    assert made["concurrencyPolicy"] == "Forbid"
    assert made["startingDeadlineSeconds"] == 600
    assert container(job["template"])["args"] == ["sync", "--once", "--no-progress"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob", "Count"]
    assert rules[1]["onExitCodes"]["values"] == [2, 4]
    assert rules[2]["onExitCodes"]["values"] == [1, 3]
    assert {rule["onExitCodes"]["containerName"] for rule in rules[1:]} == {container(job["template"])["name"]}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a failure policy needs it


def test_cronjob_has_nothing_that_listens() -> None:
    objects = render(with_values(CRONJOB, cases.NETWORK))

    assert of_kind(objects, "Service") == []
    assert "ports" not in container(worker(objects))
    assert "MIRRORD_LISTEN" not in variables(worker(objects))
    assert "ingress" not in only(objects, "NetworkPolicy")["spec"]
    assert only(objects, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_cronjob_takes_rules_and_a_pushgateway() -> None:
    args = container(worker(render(cases.CASES["cronjob-everything"])))["args"]

    assert args[3:] == ["--rule", "web", "--pushgateway", "http://pushgateway.monitoring:9091", "--verbose"]


def test_cronjob_keeps_its_claim_only_where_that_is_wanted() -> None:
    kept = only(render(CRONJOB), "PersistentVolumeClaim")
    gone = only(render(with_values(CRONJOB, {"persistence": {"retain": False}})), "PersistentVolumeClaim")

    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in gone["metadata"]


@pytest.mark.parametrize(
    "text",
    [
        "# a\nversion: 1\nrules:\n  - {name: a, source: x.io/y, targets: [z.io/y], tags: {include: [1.20]}}\n\n# z\n",
        "   version: 1\n   rules: []\n",
        "version: 1\nx-text: '{{ fail 1 }}'\n",
    ],
    ids=["numbers", "indented", "braces"],
)
def test_configuration_as_text_arrives_byte_for_byte(text: str) -> None:
    made = only(render(with_values(SERVICE, {"config": text})), "ConfigMap")

    assert made["data"]["mirrord.yaml"] == text


def test_configuration_as_a_mapping_arrives_with_its_values() -> None:
    made = only(render(SERVICE), "ConfigMap")

    assert yaml.safe_load(made["data"]["mirrord.yaml"]) == CONFIG


def test_braces_of_the_configuration_are_no_templates() -> None:
    rules = [{"name": "a", "source": "x.io/{{ .Values.mode }}", "targets": ["z.io/{repository}"]}]

    made = only(render(with_values(SERVICE, {"config": {"version": 1, "rules": rules}})), "ConfigMap")

    assert yaml.safe_load(made["data"]["mirrord.yaml"])["rules"] == rules


def test_process_settings_are_those_that_mirrord_reads() -> None:
    values = with_values(SERVICE, {"drainTimeoutSeconds": 90, "log": {"level": "debug", "format": "console"}})
    environment = {name: str(value) for name, value in variables(worker(render(values))).items()}

    settings = load_process_settings(environment)

    assert settings.drain_timeout.total_seconds() == 90
    assert (settings.log_level, settings.log_format) == ("debug", "console")
    assert (settings.listen.host, settings.listen.port) == ("", 8080)
    assert container(worker(render(values)))["ports"][0]["containerPort"] == settings.listen.port


@pytest.mark.parametrize(("drain", "grace"), [(0, 35), (25, 60), (600, 635)])
def test_kubernetes_waits_longer_than_the_service_drains(drain: int, grace: int) -> None:
    pod = worker(render(with_values(SERVICE, {"drainTimeoutSeconds": drain})))

    assert pod["spec"]["terminationGracePeriodSeconds"] == grace


def test_probes_ask_what_the_service_answers() -> None:
    made = container(worker(render(SERVICE)))

    asked = {name: made[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/livez", "port": "http"},
        "liveness": {"path": "/livez", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }


def test_secrets_are_mounted_as_files_in_one_directory_each() -> None:
    (etc,) = [v for v in worker(render(cases.CASES["service-aws"]))["spec"]["volumes"] if v["name"] == "etc"]
    items = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in etc["projected"]["sources"]
        if "secret" in source
        for item in source["secret"]["items"]
    }

    assert items == {
        "token/token": ("api", "token"),
        "docker/config.json": ("regcred", ".dockerconfigjson"),
        "secrets/dockerhub/token": ("dockerhub", "token"),
        "secrets/google/key.json": ("google-key", "key.json"),
        "secrets/google/other.json": ("google-key", "other.json"),
    }
    assert variables(worker(render(cases.CASES["service-aws"])))["DOCKER_CONFIG"] == "/etc/mirrord/docker"


def test_no_secret_is_written_into_a_manifest() -> None:
    objects = render(cases.CASES["service-aws"])

    assert of_kind(objects, "Secret") == []
    assert variables(worker(objects))["INTERNAL"] == {"secretKeyRef": {"name": "internal", "key": "password"}}


def test_generated_token_is_long_enough_and_new_in_each_release() -> None:
    values = with_values(SERVICE, {"token": {"existingSecret": "", "generate": True}})

    drawn = [base64.b64decode(only(render_anew(values), "Secret")["data"]["token"]) for _ in range(2)]

    assert drawn[0] != drawn[1]
    assert all(len(token) == 48 and token.isalnum() for token in drawn)
    assert {"secret": {"name": "hub-mirrord-token", "items": [{"key": "token", "path": "token/token"}]}} in (
        worker(render(values))["spec"]["volumes"][1]["projected"]["sources"]
    )


@pytest.mark.parametrize(
    ("identity", "annotations"),
    [
        (cases.AWS, {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/mirrord"}),
        (cases.POD_IDENTITY, None),
        (cases.GOOGLE, {"iam.gke.io/gcp-service-account": "mirror@acme.iam.gserviceaccount.com"}),
        (
            cases.AZURE,
            {
                "azure.workload.identity/client-id": "5b0c4c3e-2f5a-4a0e-9d38-4a7b6f3d2c11",
                "azure.workload.identity/tenant-id": "6c0c4c3e-2f5a-4a0e-9d38-4a7b6f3d2c11",
            },
        ),
    ],
    ids=["aws", "pod-identity", "google", "azure"],
)
def test_identity_stands_at_the_service_account(identity: dict[str, Any], annotations: dict[str, str] | None) -> None:
    objects = render(with_values(SERVICE, identity))
    labels = worker(objects)["metadata"]["labels"]

    assert only(objects, "ServiceAccount")["metadata"].get("annotations") == annotations
    assert (labels.get("azure.workload.identity/use") == "true") == (identity is cases.AZURE)


def test_certificates_of_ones_own_leave_the_pod_alone_when_they_change() -> None:
    """mirrord looks for a change at each handshake."""
    pods = [worker(render(with_values(SERVICE, {"extraCA": {"pem": CERTIFICATE + end}}))) for end in ("", "\n#")]

    assert pods[0] == pods[1]
    assert variables(pods[0])["SSL_CERT_FILE"] == "/etc/mirrord/ca/ca.crt"
    assert "AWS_CA_BUNDLE" not in variables(pods[0])


def test_a_complete_bundle_restarts_the_pod_when_it_changes() -> None:
    """The libraries of the clouds read it once."""
    bundles = [{"pem": CERTIFICATE + end, "complete": True} for end in ("", "\n#")]

    pods = [worker(render(with_values(SERVICE, {"extraCA": bundle}))) for bundle in bundles]

    sums = [pod["metadata"]["annotations"]["checksum/ca"] for pod in pods]
    assert sums[0] != sums[1]


def test_a_complete_bundle_reaches_the_libraries_of_the_clouds() -> None:
    found = variables(worker(render(with_values(SERVICE, cases.CA_CONFIG_MAP))))

    names = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
    assert [found[name] for name in names] == ["/etc/mirrord/ca/ca.crt"] * 3


def test_a_change_of_the_configuration_leaves_the_pod_alone() -> None:
    """mirrord reads it anew by itself; a restart would interrupt what is on its way."""
    other = with_values(SERVICE, {"config": {"rules": []}})

    assert worker(render(other)) == worker(render(SERVICE))


def test_digest_goes_before_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    images = [
        container(worker(render(with_values(SERVICE, {"image": image}))))["image"]
        for image in ({}, {"tag": "0.1.0-rc.1"}, {"tag": "0.1.0", "digest": digest})
    ]

    assert images == [
        "ghcr.io/mirrord/mirrord:0.2.0",
        "ghcr.io/mirrord/mirrord:0.1.0-rc.1",
        f"ghcr.io/mirrord/mirrord@{digest}",
    ]


def test_network_policy_keeps_the_metadata_service_out_of_reach() -> None:
    spec = only(render(with_values(SERVICE, cases.NETWORK)), "NetworkPolicy")["spec"]
    everywhere = [rule for rule in spec["egress"] if "to" not in rule]
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in spec["egress"][2]["to"]}

    assert [{port["port"] for port in rule["ports"]} for rule in everywhere] == [{53}]
    assert len(spec["egress"]) == 3
    assert blocks == {"0.0.0.0/0": ["169.254.169.254/32"], "::/0": ["fd00:ec2::254/128"]}


@pytest.mark.parametrize(
    ("identity", "addresses"),
    [
        (cases.AWS, []),
        (cases.POD_IDENTITY, ["169.254.170.23/32", "fd00:ec2::23/128"]),
        (cases.GOOGLE, ["169.254.169.254/32", "fd00:ec2::254/128", "169.254.169.252/32"]),
        (cases.AZURE, []),
        ({"networkPolicy": {"egress": {"metadata": True}}}, ["169.254.169.254/32", "fd00:ec2::254/128"]),
    ],
    ids=["aws", "pod-identity", "google", "azure", "machine"],
)
def test_network_policy_lets_an_identity_through(identity: dict[str, Any], addresses: list[str]) -> None:
    spec = only(render(with_values(SERVICE, cases.NETWORK, identity)), "NetworkPolicy")["spec"]

    assert [peer["ipBlock"]["cidr"] for rule in spec["egress"][3:] for peer in rule["to"]] == addresses


def test_network_policy_lets_the_resolver_of_openshift_through() -> None:
    """Policies see the port of its pods, 5353, and not the 53 of its Service."""
    spec = only(render(with_values(SERVICE, cases.NETWORK_NARROW)), "NetworkPolicy")["spec"]
    (rule,) = [rule for rule in spec["egress"] if rule["ports"][0]["port"] == 5353]

    assert {port["protocol"] for port in rule["ports"]} == {"UDP", "TCP"}
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}]


def test_network_policy_lets_in_those_that_are_named_and_the_test() -> None:
    objects = render(with_values(SERVICE, cases.NETWORK))
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    test = only(objects, "Pod")["metadata"]["labels"]

    own, *named = rule["from"]
    assert own["podSelector"]["matchLabels"].items() <= test.items()
    assert [peer["namespaceSelector"]["matchLabels"] for peer in named] == [
        {"kubernetes.io/metadata.name": "monitoring"},
        {"kubernetes.io/metadata.name": "ingress-nginx"},
    ]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]


def test_monitors_give_the_job_the_name_that_alerts_look_for() -> None:
    service = only(render(with_values(SERVICE, cases.SERVICE_MONITOR)), "ServiceMonitor")
    pod = only(render(with_values(SERVICE, cases.POD_MONITOR)), "PodMonitor")

    assert service["metadata"]["namespace"] == "monitoring"
    assert service["spec"]["namespaceSelector"] == {"matchNames": ["mirrors"]}
    endpoints = (*service["spec"]["endpoints"], *pod["spec"]["podMetricsEndpoints"])
    for endpoint, job in zip(endpoints, ("mirrord", "images"), strict=True):
        assert endpoint["relabelings"][0] == {"action": "replace", "targetLabel": "job", "replacement": job}
        assert endpoint["path"] == "/metrics"


def test_routes_lead_to_the_port_of_the_service() -> None:
    objects = render(with_values(SERVICE, cases.INGRESS, cases.ROUTE, {"service": {"port": 9000}}))
    service = only(objects, "Service")
    backends = [rule["http"]["paths"][0]["backend"]["service"] for rule in only(objects, "Ingress")["spec"]["rules"]]

    assert backends == [{"name": service["metadata"]["name"], "port": {"name": "http"}}] * 2
    assert only(objects, "HTTPRoute")["spec"]["rules"][0]["backendRefs"] == [
        {"group": "", "kind": "Service", "name": "hub-mirrord", "port": 9000, "weight": 1}
    ]
    assert service["spec"]["ports"][0] == {"name": "http", "port": 9000, "targetPort": "http", "protocol": "TCP"}


def test_test_pod_asks_the_service_whether_it_is_ready() -> None:
    test = only(render(with_values(SERVICE, {"service": {"port": 80}})), "Pod")

    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert container(test)["args"] == ["healthcheck", "--ready", "--url", "http://hub-mirrord.mirrors.svc:80"]


def test_test_pod_of_a_cronjob_checks_the_configuration_that_runs_get() -> None:
    objects = render(with_values(CRONJOB, cases.SECRETS, cases.EXTRAS))
    test = only(objects, "Pod")

    assert container(test)["args"] == ["config", "validate"]
    assert variables(test) == variables(worker(objects))
    assert [v for v in worker(objects)["spec"]["volumes"] if v["name"] != "state"] == test["spec"]["volumes"]


def test_notes_say_the_next_step() -> None:
    service, cronjob = notes(SERVICE), notes(CRONJOB)

    assert "kubectl -n mirrors port-forward service/hub-mirrord 8080:8080" in service
    assert """get secret api -o go-template='{{ index .data "token" | base64decode }}{{ "\\n" }}'""" in service
    assert "kubectl -n mirrors create job --from=cronjob/hub-mirrord hub-mirrord-now" in cronjob
    assert "https://mirror.example.com/" in notes(with_values(SERVICE, cases.INGRESS))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"proxy": {"https": "http://proxy:3128"}}, "mirrord connects directly"),
        ({"persistence": {"enabled": False}}, "After each restart"),
        ({"networkPolicy": {"enabled": True}}, "lets nobody in"),
        ({"service": {"type": "LoadBalancer"}}, "the Service of type LoadBalancer has no TLS"),
        ({"ingress": {"enabled": True, "hosts": ["mirror.example.com"]}}, "the Ingress has no TLS"),
        (
            {"networkPolicy": {"enabled": True}, "proxy": {"https": "http://proxy:3128"}},
            "port 3128, that of proxy.https",
        ),
        (
            {"mode": "cronjob", "networkPolicy": {"enabled": True}, "cronjob": {"pushgateway": "http://push"}},
            "port 80, that of cronjob.pushgateway",
        ),
    ],
    ids=["proxy", "persistence", "network", "plain-service", "plain-ingress", "network-proxy", "network-pushgateway"],
)
def test_notes_warn_of_what_is_probably_not_meant(values: dict[str, Any], text: str) -> None:
    plain = {"config": {"version": 1, "rules": []}, "token": {"existingSecret": "api"}}

    assert text in notes(with_values(plain, values))
    assert text not in notes(plain)


def test_notes_are_content_with_a_proxy_that_the_configuration_follows() -> None:
    assert "mirrord connects directly" not in notes(with_values(SERVICE, {"proxy": {"https": "http://proxy:3128"}}))


def test_notes_are_content_with_a_pushgateway_that_the_network_policy_lets_through() -> None:
    values = {"cronjob": {"pushgateway": "http://push:9091"}, "networkPolicy": {"enabled": True}}
    ports = {"networkPolicy": {"egress": {"ports": [443, 9091]}}}

    assert "port 9091" in notes(with_values(CRONJOB, values))
    assert "lets nothing out" not in notes(with_values(CRONJOB, values, ports))
