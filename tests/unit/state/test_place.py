"""Where a state store can be, and what is said where it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirrord.errors import StateError
from mirrord.state.place import file_system, path_of, prepare

NOBODY = 65_534
IS_ROOT = os.geteuid() == 0


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user without rights, as root can; another user has none anyway."""
    if IS_ROOT:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


@pytest.fixture
def walled(tmp_path: Path) -> Iterator[Path]:
    """A directory of somebody else's, which may be entered."""
    directory = tmp_path / "walled"
    directory.mkdir(mode=0o555)
    opened_to_all = [parent for parent in tmp_path.parents if IS_ROOT and parent.stat().st_mode & 0o077 == 0]
    for parent in (tmp_path, *opened_to_all):
        parent.chmod(0o755)
    yield directory
    directory.chmod(0o755)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/mirrord/state.db", "/var/lib/mirrord/state.db"),
        ("sqlite:////var/lib/mirrord/state.db", "/var/lib/mirrord/state.db"),
        ("sqlite+aiosqlite:///var/state.db", "/var/state.db"),
        ("sqlite:///var//lib/../state.db", "/var/state.db"),
        ("sqlite:///with%20space/a%3Fb.db", "/with space/a?b.db"),
    ],
)
def test_url_with_a_slash_names_a_file_from_the_root(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://state.db", "sqlite:///./state.db", "sqlite://./state.db"])
def test_url_without_a_slash_names_a_file_of_the_working_directory(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert path_of(url) == tmp_path / "state.db"


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///a/", "sqlite:///..", "sqlite://:memory:", "sqlite:///a%00b"]
)
def test_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(StateError) as caught:
        path_of(url)

    assert caught.value.code == "STATE_URL_INVALID"
    assert "MIRRORD_STATE=" in caught.value.remedy


def test_postgresql_is_refused_without_showing_its_password() -> None:
    with pytest.raises(StateError, match="postgresql needs a later release") as caught:
        path_of("postgresql://user:hunter2@db.test/mirrord")

    assert "hunter2" not in str(caught.value)


def test_missing_directories_are_made_for_their_user_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b" / "state.db")

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.covers("D83")
def test_directory_that_cannot_be_made_is_told_with_the_commands_that_make_it(walled: Path) -> None:
    with as_nobody(), pytest.raises(StateError) as caught:
        prepare(walled / "mirrord" / "state.db")

    assert caught.value.code == "STATE_PATH_INVALID"
    assert f'"{walled}/mirrord" cannot be made: Permission denied' in caught.value.message
    assert f"sudo install -d -m 700 -o nobody '{walled}/mirrord'" in caught.value.remedy
    assert "MIRRORD_STATE=sqlite://" in caught.value.remedy


@pytest.mark.covers("D83")
def test_directory_that_cannot_be_written_is_told(walled: Path) -> None:
    with as_nobody(), pytest.raises(StateError, match="cannot be written by user") as caught:
        prepare(walled / "state.db")

    assert caught.value.code == "STATE_PATH_INVALID"


@pytest.mark.covers("D83")
@pytest.mark.skipif(not IS_ROOT, reason="only root can make a file of another user")
def test_file_of_another_user_is_told_with_its_owner(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o755)
    tmp_path.chmod(0o777)
    file = tmp_path / "state.db"
    file.touch(0o600)

    with as_nobody(), pytest.raises(StateError, match="owned by user 0") as caught:
        prepare(file)

    assert f"chown {NOBODY} {file}*" in caught.value.remedy


@pytest.mark.covers("D83")
def test_directory_or_pipe_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for name in ("directory", "pipe"):
        with pytest.raises(StateError, match="is not a file") as caught:
            prepare(tmp_path / name)
        assert caught.value.code == "STATE_PATH_INVALID"


@pytest.mark.covers("D83")
def test_file_that_is_a_link_is_refused_and_the_real_one_named(tmp_path: Path) -> None:
    """Its lock and journal would stand beside the link, and another link would have others."""
    (tmp_path / "real.db").touch()
    (tmp_path / "state.db").symlink_to(tmp_path / "real.db")

    with pytest.raises(StateError, match="is a link") as caught:
        prepare(tmp_path / "state.db")

    assert f"MIRRORD_STATE=sqlite://{tmp_path}/real.db" in caught.value.remedy


def test_directory_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert prepare(tmp_path / "link" / "state.db") == tmp_path / "real" / "state.db"


def test_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateError, match="cannot be made") as caught:
        prepare(tmp_path / "file" / "state.db")

    assert caught.value.code == "STATE_PATH_INVALID"


def mounts(tmp_path: Path, *lines: str) -> str:
    """Return a table of mounts as the kernel writes it, the root's first."""
    file = tmp_path / "mountinfo"
    root = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"
    file.write_text("\n".join([root, *lines, "short line", ""]))
    return str(file)


@pytest.mark.covers("D83")
@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p"])
def test_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    table = mounts(tmp_path, f"30 22 0:50 / {tmp_path} rw shared:9 - {kind} server:/export rw")

    with pytest.raises(StateError, match=rf"network file system \({kind}\)") as caught:
        prepare(tmp_path / "state.db", table)

    assert caught.value.code == "STATE_PATH_INVALID"
    assert not (tmp_path / "state.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "fuse", "fuse.sshfs", "virtiofs"])
def test_other_file_system_is_taken(tmp_path: Path, kind: str) -> None:
    table = mounts(tmp_path, f"30 22 0:50 / {tmp_path} rw - {kind} thing rw")

    assert prepare(tmp_path / "state.db", table) == tmp_path / "state.db"


def test_file_system_is_that_of_the_nearest_and_latest_mount(tmp_path: Path) -> None:
    inner = tmp_path / "with space"
    inner.mkdir()
    table = mounts(
        tmp_path,
        f"30 22 0:50 / {tmp_path} rw - nfs server:/ rw",
        rf"31 30 0:51 / {tmp_path}/with\040space rw - nfs server:/b rw",
        rf"32 30 0:52 / {tmp_path}/with\040space rw - xfs /dev/vdb rw",
    )

    assert file_system(inner, table) == "xfs"
    assert file_system(tmp_path, table) == "nfs"
    assert file_system(tmp_path.parent, table) == "ext4"


def test_nothing_is_known_without_a_table_of_mounts(tmp_path: Path) -> None:
    assert file_system(tmp_path, str(tmp_path / "absent")) == ""


def test_real_table_of_mounts_can_be_read() -> None:
    assert file_system(Path("/proc")) == "proc"
