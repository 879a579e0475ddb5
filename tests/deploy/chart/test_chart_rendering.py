"""What the chart makes is taken by Kubernetes, for every mode and over all switches."""

from __future__ import annotations

import string
from collections import Counter

import pytest

from tests.deploy.chart.chartcases import CASES
from tests.deploy.chart.objectschemas import NEWEST, check
from tests.deploy.chart.podsecurity import violations
from tests.deploy.chart.rendering import (
    CRONJOB,
    SERVICE,
    Values,
    container,
    of_kind,
    only,
    pod_templates,
    render,
    render_anew,
    variables,
    with_values,
    worker,
)

OLDEST = "1.29.0"
LONG = ("release-" + string.ascii_lowercase * 2)[:53]
each_case = pytest.mark.parametrize("values", CASES.values(), ids=CASES)
each_mode = pytest.mark.parametrize("values", [SERVICE, CRONJOB], ids=["service", "cronjob"])


@each_case
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_objects_are_what_kubernetes_takes(values: Values, version: str) -> None:
    objects = render(values)

    assert len(objects) > 3
    for made in objects:
        check(made, version)


@each_case
def test_no_two_objects_share_a_name(values: Values) -> None:
    names = Counter((made["kind"], made["metadata"]["namespace"], made["metadata"]["name"]) for made in render(values))

    assert names.most_common(1)[0][1] == 1


@each_case
def test_names_and_labels_fit_with_the_longest_release_name(values: Values) -> None:
    objects = render(values, name=LONG)

    for made in objects:
        assert len(made["metadata"]["name"]) <= 63
        assert not made["metadata"]["name"].endswith("-")
        check(made)
        assert all(len(value) <= 63 for value in made["metadata"]["labels"].values())
    for made in of_kind(objects, "CronJob") + of_kind(objects, "StatefulSet"):
        assert len(made["metadata"]["name"]) <= 52  # a Job appends 11, the label of a revision too


@each_case
def test_names_stay_different_with_the_longest_release_name(values: Values) -> None:
    names = Counter((made["kind"], made["metadata"]["name"]) for made in render(values, name=LONG))

    assert names.most_common(1)[0][1] == 1


@each_case
def test_pods_keep_to_the_restricted_standard(values: Values) -> None:
    pods = list(pod_templates(render(values)))

    assert len(pods) == 2  # the one that mirrors, and that of helm test
    for _, pod in pods:
        assert violations(pod["spec"]) == []
        assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert all("sizeLimit" in volume["emptyDir"] for volume in pod["spec"]["volumes"] if "emptyDir" in volume)


@each_case
def test_every_mount_has_its_volume_and_every_volume_its_mount(values: Values) -> None:
    objects = render(values)
    for kind, pod in pod_templates(objects):
        made = [volume["name"] for volume in pod["spec"]["volumes"]]
        if kind == "StatefulSet":
            claims = only(objects, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
            made += [claim["metadata"]["name"] for claim in claims]
        mounts = container(pod)["volumeMounts"]

        assert len(made) == len(set(made))
        assert {mount["name"] for mount in mounts} == set(made)
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
        assert not any("subPath" in mount for mount in mounts)  # what is mounted so never changes


@each_case
def test_what_a_pod_refers_to_is_made_or_named_by_the_values(values: Values) -> None:
    objects = render(values)
    made = {(one["kind"], one["metadata"]["name"]) for one in objects}
    named = str(values)

    for _, pod in pod_templates(objects):
        spec = pod["spec"]
        for volume in spec["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                kind, name = ("ConfigMap", "configMap") if "configMap" in source else ("Secret", "secret")
                assert (kind, source[name]["name"]) in made or repr(source[name]["name"]) in named
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or ("PersistentVolumeClaim", claim) in made or repr(claim) in named
        account = spec["serviceAccountName"]
        assert ("ServiceAccount", account) in made or repr(account) in named


@each_case
def test_no_path_of_the_projected_volume_is_given_twice(values: Values) -> None:
    (etc,) = [volume for volume in worker(render(values))["spec"]["volumes"] if volume["name"] == "etc"]
    sources = [next(iter(source.values())) for source in etc["projected"]["sources"]]
    paths = [item["path"] for source in sources for item in source["items"]]

    assert len(paths) == len(set(paths))
    assert not any(path.startswith(("/", "..")) for path in paths)


@each_case
def test_selectors_find_the_pods_that_mirror_and_no_others(values: Values) -> None:
    objects = render(values)
    mirrors = worker(objects)["metadata"]["labels"]
    tests = [pod["metadata"]["labels"] for kind, pod in pod_templates(objects) if kind == "Pod"]
    selectors = [made["spec"]["selector"] for made in of_kind(objects, "Service")]
    selectors += [made["spec"]["selector"]["matchLabels"] for made in of_kind(objects, "StatefulSet")]
    selectors += [made["spec"]["selector"]["matchLabels"] for made in of_kind(objects, "PodMonitor")]
    selectors += [made["spec"]["podSelector"]["matchLabels"] for made in of_kind(objects, "NetworkPolicy")]

    for selector in selectors:
        assert selector.items() <= mirrors.items()
        assert not any(selector.items() <= labels.items() for labels in tests)
    for monitor in of_kind(objects, "ServiceMonitor"):
        service = only(objects, "Service")
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]


@each_case
def test_a_release_does_not_find_the_pods_of_another(values: Values) -> None:
    pods = worker(render(values, name="other"))["metadata"]["labels"]

    for made in of_kind(render(values), "Service"):
        assert not made["spec"]["selector"].items() <= pods.items()


@each_case
def test_rendering_twice_gives_the_same(values: Values) -> None:
    """Or a controller that compares would never come to rest. Only a generated token differs, as values.yaml says."""
    drawn = with_values(values, {"token": {"generate": False, "existingSecret": "api"}})

    assert render_anew(drawn) == render_anew(drawn)


@each_case
def test_no_variable_of_the_image_stays_that_would_not_work(values: Values) -> None:
    """The image names a state of its own, which a pod without a volume for it could not write."""
    pod = worker(render(values))
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    state = variables(pod)["MIRRORD_STATE"]

    assert state == ("sqlite:////var/lib/mirrord/state.db" if "/var/lib/mirrord" in mounts else "")
    assert container(pod)["workingDir"] == "/tmp"


@each_mode
@pytest.mark.parametrize("version", ["0.2.0", "1.0.0-rc.1"])
def test_upgrade_changes_nothing_that_cannot_be_changed(values: Values, version: str) -> None:
    before = render(values)
    after = render(with_values(values, {"image": {"tag": version}, "commonLabels": {"new": "label"}}))

    for kind, fields in {
        "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy"),
        "PersistentVolumeClaim": ("accessModes", "storageClassName", "resources"),
    }.items():
        for old, new in zip(of_kind(before, kind), of_kind(after, kind), strict=True):
            assert [old["spec"].get(field) for field in fields] == [new["spec"].get(field) for field in fields]
    assert version in str(after)


def test_immutable_parts_carry_no_version() -> None:
    made = only(render(SERVICE), "StatefulSet")["spec"]

    for labels in (made["selector"]["matchLabels"], made["volumeClaimTemplates"][0]["metadata"]["labels"]):
        assert set(labels) == {f"app.kubernetes.io/{word}" for word in ("name", "instance", "component")}


def test_every_switch_of_the_chart_is_turned_by_a_case() -> None:
    kinds = {made["kind"] for values in CASES.values() for made in render(values)}

    assert kinds == {
        *(
            "ConfigMap",
            "CronJob",
            "HTTPRoute",
            "Ingress",
            "NetworkPolicy",
            "PersistentVolumeClaim",
            "Pod",
            "PodMonitor",
        ),
        *("PodMonitor", "PrometheusRule", "Secret", "Service", "ServiceAccount", "ServiceMonitor", "StatefulSet"),
    }
