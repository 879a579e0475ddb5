"""The chart rendered by Helm's own engine, and its objects as plain mappings."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "helm/mirrord"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The quick one, where there is one."""

Values = Mapping[str, Any]
Object = Mapping[str, Any]

CONFIG: Values = {
    "version": 1,
    "registries": {
        "docker.io": {"username": "bot", "password": {"file": "/etc/mirrord/secrets/dockerhub/token"}},
        "registry.internal:5000": {"proxy": "environment", "username": "m", "password": {"env": "INTERNAL"}},
    },
    "rules": [
        {
            "name": "web",
            "source": "docker.io/library/nginx",
            "targets": ["registry.internal:5000/hub/{repository}"],
            "tags": {"include": ["1.20"]},
            "schedule": "1h",
        }
    ],
}
SERVICE: Values = {"config": CONFIG, "token": {"existingSecret": "api"}}
CRONJOB: Values = {"mode": "cronjob", "config": CONFIG}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@cache
def chart() -> helm_python.Chart:
    """Return the chart, loaded once."""
    return helm_python.Chart.load(CHART)


def with_values(base: Values, *others: Values) -> dict[str, Any]:
    """Return values laid over each other as Helm does; lists are replaced."""
    merged = copy.deepcopy(dict(base))
    for other in others:
        for key, value in other.items():
            inner = merged.get(key)
            is_both = isinstance(inner, Mapping) and isinstance(value, Mapping)
            merged[key] = with_values(inner, value) if is_both else copy.deepcopy(value)  # type: ignore[arg-type]
    return merged


def render(values: Values, *, name: str = "hub", namespace: str = "mirrors") -> list[Object]:
    """Return every object of a release. They are shared by tests, which change nothing of them."""
    return _rendered(json.dumps(values), name, namespace)


def render_anew(values: Values, *, name: str = "hub", namespace: str = "mirrors") -> list[Object]:
    """Return every object of a release, rendered for this call alone."""
    files = chart().render(dict(values), name=name, namespace=namespace)
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [made for text in texts for made in yaml.load_all(text, LOADER) if made]


@cache
def _rendered(values: str, name: str, namespace: str) -> list[Object]:
    return render_anew(json.loads(values), name=name, namespace=namespace)


def notes(values: Values, *, name: str = "hub", namespace: str = "mirrors") -> str:
    """Return what is said after the installation."""
    return chart().render(dict(values), name=name, namespace=namespace)["mirrord/templates/NOTES.txt"]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return the objects of a kind."""
    return [made for made in objects if made["kind"] == kind]


def only(objects: list[Object], kind: str) -> Any:
    """Return the one object of a kind."""
    found = of_kind(objects, kind)
    assert len(found) == 1, [f"{made['kind']} {made['metadata']['name']}" for made in objects]
    return found[0]


def pod_templates(objects: list[Object]) -> Iterator[tuple[str, Any]]:
    """Yield kind and pod (metadata and spec) of everything that makes pods, and pods themselves."""
    for made in objects:
        if made["kind"] == "Pod":
            yield "Pod", made
        elif made["kind"] == "StatefulSet":
            yield "StatefulSet", made["spec"]["template"]
        elif made["kind"] == "CronJob":
            yield "CronJob", made["spec"]["jobTemplate"]["spec"]["template"]


def worker(objects: list[Object]) -> Any:
    """Return the pod that mirrors: that of the StatefulSet or of the CronJob."""
    (pod,) = [pod for kind, pod in pod_templates(objects) if kind != "Pod"]
    return pod


def container(pod: Any) -> Any:
    """Return the one container of a pod."""
    (found,) = pod["spec"]["containers"]
    return found


def variables(pod: Any) -> dict[str, Any]:
    """Return the variables of a pod's container: values, or where they come from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(pod)["env"]}


def fault(values: Values) -> str:
    """Return what Helm says of values that it refuses."""
    try:
        render(values)
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError("Helm took these values")
