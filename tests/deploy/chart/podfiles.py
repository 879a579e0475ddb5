"""A rendered pod on this machine: its files laid out, its variables and command with paths and ports of the test."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.chart.rendering import Object, container

ENTRYPOINT = "mirrord"
"""What the image begins with; the chart gives it arguments alone."""
PLACES = ("/etc/mirrord", "/var/lib/mirrord")
GIVEN = "0123456789abcdef0123456789abcdef"
"""Content of every Secret and ConfigMap that the cluster would hold: it does for a token."""


@dataclass(frozen=True, slots=True)
class Started:
    """What Kubernetes would have the container's runtime start."""

    root: Path
    args: Sequence[str]
    env: Mapping[str, str]


def lay_out(objects: list[Object], pod: Any, root: Path, given: Mapping[str, str]) -> Started:
    """Write the files of a pod below a directory, as the kubelet would below its mounts.

    Args:
        objects: All of the release.
        pod: One of its pods.
        root: Stands for the container's root.
        given: Content of ConfigMaps that are not of the release, by name; Secrets get `GIVEN`.
    """
    data = {(made["kind"], made["metadata"]["name"]): made.get("data", {}) for made in objects}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    for mount in container(pod)["volumeMounts"]:
        place = root / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
            _write(source, place, data, given)
    env = {entry["name"]: moved(entry.get("value", GIVEN), root) for entry in container(pod).get("env", [])}
    return Started(root, [moved(argument, root) for argument in container(pod)["args"]], env)


def moved(text: str, root: Path) -> str:
    """Return a text with paths of the container as paths below ``root``."""
    for place in PLACES:
        text = text.replace(place, f"{root}{place}")
    return text


def _write(
    source: Mapping[str, Any], place: Path, data: Mapping[tuple[str, str], Mapping[str, str]], given: Mapping[str, str]
) -> None:
    kind, name = next(iter(source.items()))
    held = data.get((kind[0].upper() + kind[1:], name["name"]))
    for item in name["items"]:
        file = place / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        if held is None:
            text = given.get(name["name"], GIVEN)
        else:
            text = base64.b64decode(held[item["key"]]).decode() if kind == "secret" else held[item["key"]]
        file.write_text(text, "utf-8")
