import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        pytest.param("linux/amd64", Platform("linux", "amd64"), id="two parts"),
        pytest.param("linux/arm/v7", Platform("linux", "arm", "v7"), id="variant"),
        pytest.param("linux/x86_64", Platform("linux", "amd64"), id="alias"),
        pytest.param("linux/aarch64/v8", Platform("linux", "arm64", "v8"), id="alias and variant"),
        pytest.param("wasip1/wasm", Platform("wasip1", "wasm"), id="no operating system"),
    ],
)
def test_platform_reads_os_architecture_and_variant(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert Platform.parse(str(platform)) == platform


@pytest.mark.parametrize(
    "text",
    [
        "",
        "linux",
        "/",
        "linux/",
        "/amd64",
        "linux/amd64/v1/x",
        "Linux/amd64",
        "linux/amd 64",
        "linux/\n",
        "a/" + "b" * 65,
    ],
)
def test_platform_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Platform.parse(text)

    assert caught.value.code == "PLATFORM_INVALID"


@pytest.mark.parametrize(
    ("wanted", "offered", "covered"),
    [
        pytest.param(Platform("linux", "amd64"), Platform("linux", "amd64"), True, id="same"),
        pytest.param(Platform("linux", "amd64"), Platform("linux", "arm64"), False, id="other architecture"),
        pytest.param(Platform("linux", "amd64"), Platform("windows", "amd64"), False, id="other os"),
        pytest.param(Platform("linux", "arm"), Platform("linux", "arm", "v6"), True, id="any variant"),
        pytest.param(Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6"), False, id="other variant"),
        pytest.param(Platform("linux", "arm64", "v8"), Platform("linux", "arm64"), True, id="default variant of arm64"),
        pytest.param(Platform("linux", "arm", "v7"), Platform("linux", "arm"), True, id="default variant of arm"),
        pytest.param(Platform("linux", "amd64", "v1"), Platform("linux", "amd64"), True, id="default variant of amd64"),
        pytest.param(Platform("linux", "amd64", "v3"), Platform("linux", "amd64"), False, id="better than default"),
        pytest.param(Platform("linux", "riscv64", "x"), Platform("linux", "riscv64"), False, id="no default"),
        pytest.param(Platform("linux", "amd64"), Platform("linux", "x86_64"), True, id="alias offered"),
        pytest.param(
            Platform("windows", "amd64"), Platform("windows", "amd64", "", "10.0.1"), True, id="any version of the os"
        ),
    ],
)
def test_platform_covers_what_a_filter_for_it_takes(wanted: Platform, offered: Platform, *, covered: bool) -> None:
    assert wanted.covers(offered) is covered


@pytest.mark.covers("E38")
def test_platform_knows_the_mark_of_attestations() -> None:
    assert Platform("unknown", "unknown").is_unknown
    assert not Platform("linux", "unknown").is_unknown
    assert not Platform("unknown", "amd64").is_unknown


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        pytest.param(Platform("linux", "arm", "v7"), "linux/arm/v7", id="all"),
        pytest.param(Platform("windows", "amd64", "", "10.0"), "windows/amd64", id="no os version"),
        pytest.param(Platform("", ""), "", id="nothing"),
    ],
)
def test_platform_is_written_as_it_is_read(platform: Platform, text: str) -> None:
    assert str(platform) == text
