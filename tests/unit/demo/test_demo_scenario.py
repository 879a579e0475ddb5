from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from mirrord.config.loader import load_config
from mirrord.demo.scenario import open_scene
from mirrord.errors import StartupError


def read(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


def test_the_scene_has_a_full_source_and_an_empty_target() -> None:
    with open_scene() as scene:
        full = read(f"http://{scene.source}/v2/_catalog")
        empty = read(f"http://{scene.target}/v2/_catalog")

        assert len(full["repositories"]) == scene.repositories  # type: ignore[arg-type] # a list
        assert empty["repositories"] == []


def test_the_rules_of_the_scene_are_a_valid_configuration_without_warnings() -> None:
    with open_scene() as scene:
        config = load_config(str(scene.config_file), {})

        assert [rule.name for rule in config.rules] == ["shop", "tools", "chart"]
        assert not config.warnings
        assert {settings.host for settings in config.registries.values()} == {scene.source, scene.target}


def test_a_release_is_a_new_tag_and_moves_latest() -> None:
    with open_scene() as scene:
        before = _digest(scene.source, "latest")

        version = scene.release()

        assert _digest(scene.source, "latest") == _digest(scene.source, version) != before


def test_the_scene_leaves_nothing_behind() -> None:
    with open_scene() as scene:
        directory = scene.config_file.parent
        assert directory.is_dir()

    assert not Path(directory).exists()


def test_the_scene_takes_the_ports_that_it_is_told() -> None:
    with open_scene() as first:
        ports = int(first.source.rpartition(":")[2]), int(first.target.rpartition(":")[2])

    with open_scene(ports) as scene:
        assert (scene.source, scene.target) == (first.source, first.target)


def test_the_scene_says_which_port_is_taken() -> None:
    with open_scene() as first:
        port = int(first.target.rpartition(":")[2])
        taken = f"127.0.0.1:{port} cannot be listened on"

        with pytest.raises(StartupError, match=taken) as caught, open_scene((0, port)):
            pass

    assert caught.value.code == "LISTEN_FAILED"


def _digest(host: str, tag: str) -> str:
    accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/shop/web/manifests/{tag}", headers=accept, method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.headers["Docker-Content-Digest"])
