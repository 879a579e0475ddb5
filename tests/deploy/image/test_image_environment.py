"""What `scripts/image_environment.py` makes smaller still works, and nothing outside changes with it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.image.building import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_environment", ROOT / "scripts/image_environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled_module() -> Path:
    """Return a library of this environment that is shipped with lines for debuggers."""
    spec = importlib.util.find_spec("yaml._yaml")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="objects are ELF of 64 bits on Linux")
def test_stripped_module_is_smaller_and_works(script: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "yaml"
    package.mkdir()
    file = package / compiled_module().name
    file.write_bytes(compiled_module().read_bytes())
    for source in compiled_module().parents[1].joinpath("yaml").glob("*.py"):
        (package / source.name).write_bytes(source.read_bytes())

    saved = script.strip(file)
    program = "import yaml, yaml._yaml as c; print(c.__file__, yaml.load('a: [1, 2]', Loader=yaml.CSafeLoader))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert saved > 0
    assert file.stat().st_size == compiled_module().stat().st_size - saved
    assert done.stdout == f"{file} {{'a': [1, 2]}}\n"


def test_stripping_leaves_other_names_of_a_file_as_they_are(script: ModuleType, tmp_path: Path) -> None:
    """uv links what it installs to its cache."""
    cached, installed = tmp_path / "cached.so", tmp_path / "installed.so"
    cached.write_bytes(compiled_module().read_bytes())
    os.link(cached, installed)

    script.strip(installed)

    assert cached.read_bytes() == compiled_module().read_bytes()
    assert installed.stat().st_size < cached.stat().st_size


@pytest.mark.parametrize(
    "content", [b"", b"GROUP ( libc.so.6 )", b"\x7fELF\x01\x01" + bytes(80)], ids=["empty", "text", "32-bit"]
)
def test_what_is_no_object_of_this_kind_stays(content: bytes, script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(content)

    assert script.strip(file) == 0
    assert file.read_bytes() == content


def test_descriptions_of_aws_services_that_are_not_called_go(script: ModuleType, tmp_path: Path) -> None:
    data = tmp_path / "botocore" / "data"
    for name in ("ecr", "sts", "ec2"):
        (data / name / "1").mkdir(parents=True)
        (data / name / "1" / "service-2.json.gz").write_bytes(bytes(10))
    (data / "endpoints.json").write_text("{}")

    removed = script.trim_botocore(tmp_path)

    assert removed == 10
    assert sorted(path.name for path in data.iterdir()) == ["ecr", "endpoints.json", "sts"]


def test_services_of_aws_that_stay_are_those_that_exist(script: ModuleType) -> None:
    botocore = importlib.util.find_spec("botocore")
    assert botocore is not None
    assert botocore.submodule_search_locations is not None
    data = Path(botocore.submodule_search_locations[0]) / "data"

    assert [name for name in script.AWS_SERVICES if not (data / name).is_dir()] == []


def test_environment_without_the_extra_has_nothing_to_remove(script: ModuleType, tmp_path: Path) -> None:
    assert script.trim_botocore(tmp_path) == 0


def test_time_of_the_wheel_is_noted_nowhere(script: ModuleType, tmp_path: Path) -> None:
    info = tmp_path / "mirrord-0.1.0.dist-info"
    info.mkdir()
    (info / "uv_cache.json").write_text('{"timestamp": 1}')
    (info / "RECORD").write_text("mirrord/a.py,sha256=x,1\nmirrord-0.1.0.dist-info/uv_cache.json,sha256=y,16\n")

    script.trim_times(tmp_path)

    assert [path.name for path in info.iterdir()] == ["RECORD"]
    assert (info / "RECORD").read_text() == "mirrord/a.py,sha256=x,1\n"


def test_programs_and_leftovers_of_the_installer_go(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bin/mirrord", "bin/python", "bin/python3", "bin/uvicorn", "bin/activate", ".lock", "pyvenv.cfg"):
        (tmp_path / name).write_text("x")

    script.trim_programs(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
        *("bin/mirrord", "bin/python", "bin/python3", "pyvenv.cfg")
    ]
