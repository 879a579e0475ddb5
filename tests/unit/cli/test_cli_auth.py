from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirrord.registry.access import read_granted
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.faults import Respond
from tests.fakes.images import make_image
from tests.fakes.profiles import BASIC, BEARER, DISTRIBUTION_V3, Profile, Refusal
from tests.fakes.registries.ecr import ECR
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

IMAGE = make_image("app")
PASSWORD = BASIC.auth.password


def check(
    rules: Sequence[Mapping[str, object]], registries: Mapping[str, Mapping[str, object]], *options: str
) -> Finished:
    named = [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)]
    plain = {host: {"plain_http": True, **settings} for host, settings in registries.items()}
    file = Path("config.yaml")
    file.write_text(json.dumps({"version": 1, "registries": plain, "rules": named}), encoding="utf-8")
    return run_command("auth", "check", "-c", str(file), *options)


def robot(registry: FakeRegistry, variable: str = "SECRET") -> dict[str, dict[str, object]]:
    tokens = [registry.token_host] if registry.token_host else []
    return {registry.host: {"username": "robot", "password": {"env": variable}, "auth_hosts": tokens}}


def registry_of(done: Finished, host: str) -> dict[str, object]:
    (found,) = [registry for registry in json.loads(done.stdout)["registries"] if registry["registry"] == host]
    assert isinstance(found, dict)
    return found


@pytest.mark.covers("C33")
@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
def test_auth_check_tells_an_accepted_credential_and_where_it_was_found(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", PASSWORD)
    with serving(profile) as (registry,):
        put(registry.store, "app", IMAGE, "1")

        done = check([{"source": f"{registry.host}/app", "targets": ["oci:./x"]}], robot(registry))
        told = check([{"source": f"{registry.host}/app", "targets": ["oci:./x"]}], robot(registry), "-o", "json")

        found = registry_of(told, registry.host)
        assert (done.code, told.code) == (0, 0)
        assert found["credential"] == {"origin": "registries entry", "username": "robot"}
        assert (found["accepted"], found["authentication"]) == ("yes", profile.auth.scheme)
        assert 'user "robot", from registries entry, accepted' in done.stdout
        assert PASSWORD not in f"{done}{told}"


@pytest.mark.covers("C33")
def test_auth_check_finds_credentials_of_docker(bare: Path) -> None:
    with serving(BASIC) as (registry,):
        pair = base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
        (bare / ".docker").mkdir()
        auths = {"auths": {registry.host: {"auth": pair}}}
        (bare / ".docker" / "config.json").write_text(json.dumps(auths), encoding="utf-8")

        done = check([], {registry.host: {}}, "--output", "json")

        credential = registry_of(done, registry.host)["credential"]
        assert done.code == 0
        assert isinstance(credential, dict)
        assert credential["origin"].endswith(".docker/config.json")
        assert pair not in done.stdout


@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
def test_auth_check_tells_a_credential_that_is_not_accepted(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "wrong horse")
    with serving(profile, DISTRIBUTION_V3) as (registry, other):
        done = check(
            [{"source": f"{registry.host}/app", "targets": [f"{other.host}/app"]}], {**robot(registry), other.host: {}}
        )

        assert done.code == 1
        assert 'user "robot", from registries entry, not accepted' in done.stdout
        assert "AUTH_REJECTED" in done.stdout
        assert "wrong horse" not in f"{done}"


def test_auth_check_does_not_advise_to_run_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "wrong")
    with serving(BASIC) as (registry,):
        done = check([{"source": f"{registry.host}/app", "targets": ["oci:./x"]}], robot(registry))

    assert "remedy: check user name, password or token" in done.stdout
    assert "mirrord auth check" not in done.stdout


def test_auth_check_ends_with_3_if_no_registry_can_be_used() -> None:
    with serving(BASIC) as (registry,):
        done = check([{"source": f"{registry.host}/app", "targets": ["oci:./x"]}], robot(registry, "NOT_SET"))

    assert done.code == 3
    assert "ENV_UNSET: the environment variable NOT_SET" in done.stdout


def test_auth_check_pulls_from_sources_and_leaves_targets_alone() -> None:
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        put(source.store, "app", IMAGE, "1")
        rules = [{"source": f"{source.host}/app", "targets": [f"{target.host}/mirror/app"]}]

        done = check(rules, {source.host: {}, target.host: {}}, "--output", "json")

        assert done.code == 0
        assert registry_of(done, target.host)["repositories"] == [
            {
                "repository": f"{target.host}/mirror/app",
                "role": "target",
                "exists": False,
                "pull": "unknown",
                "push": "unknown",
                "made_by_push": False,
                "problem": None,
                "warnings": [],
            }
        ]
        assert {record.method for record in (*source.traffic.records, *target.traffic.records)} == {"GET"}


def test_auth_check_proves_the_right_to_push_and_leaves_nothing_behind() -> None:
    with serving(DISTRIBUTION_V3) as (target,):
        rules = [{"source": "oci:./x", "targets": [f"{target.host}/mirror/app"]}]

        done = check(rules, {target.host: {}}, "--push")

        assert done.code == 0
        assert "push: yes" in done.stdout
        assert not target.store.uploads("mirror/app")
        assert not target.store.repositories()


@pytest.mark.parametrize("push", [True, False], ids=["tried", "not-tried"])
def test_auth_check_says_that_the_first_push_makes_a_repository(push: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """ECR refuses an upload to a repository that is not there, which says nothing of the right to push."""
    monkeypatch.setenv("SECRET", PASSWORD)
    with serving(replace(ECR, auth=BASIC.auth)) as (target,):
        rules = [{"source": "oci:./x", "targets": [f"{target.host}/app"]}]
        settings = robot(target)
        settings[target.host] = {**settings[target.host], "provider": "ecr"}

        done = check(rules, settings, *(["--push"] if push else []))

        assert "app  target  pull: unknown  push: not tried  does not exist yet; the first push makes it" in done.stdout
        assert done.code == 0


@pytest.mark.parametrize("push", [True, False], ids=["tried", "not-tried"])
def test_auth_check_tells_a_push_that_is_refused_only_if_it_tries(push: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", PASSWORD)
    reading = replace(BEARER, auth=replace(BEARER.auth, granted=frozenset({"pull"})))
    with serving(reading) as (target,):
        rules = [{"source": "oci:./x", "targets": [f"{target.host}/app"]}]

        done = check(rules, robot(target), *(["--push"] if push else []))

        assert ("push: no " in done.stdout) is push
        assert (done.code != 0) is push


def test_auth_check_asks_the_first_repository_of_a_pattern() -> None:
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        put(source.store, "team/b", IMAGE, "1")
        put(source.store, "team/a", IMAGE, "1")
        rules = [{"source": f"{source.host}/team/*", "targets": [f"{target.host}/m/{{name}}"]}]

        done = check(rules, {source.host: {}, target.host: {}})

        assert done.code == 0
        assert "team/a  source  pull: yes" in done.stdout
        assert "m/a  target" in done.stdout


def test_auth_check_tells_a_registry_that_lists_no_repositories() -> None:
    with serving(replace(DISTRIBUTION_V3, catalog=Refusal(status=404))) as (source,):
        done = check([{"source": f"{source.host}/team/*", "targets": ["oci:./x/{name}"]}], {source.host: {}})

        assert done.code == 3
        assert "UNSUPPORTED" in done.stdout


def test_auth_check_needs_a_configuration_file() -> None:
    done = run_command("auth", "check")

    assert done.code == 2
    assert "CONFIG_MISSING" in done.stderr


def token(payload: object) -> str:
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"header.{encoded}.signature"


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        pytest.param(
            token({"access": [{"type": "repository", "name": "app", "actions": ["pull", "push"]}]}),
            frozenset({"pull", "push"}),
            id="both",
        ),
        pytest.param(
            token({"access": [{"type": "repository", "name": "app", "actions": ["*"]}]}),
            frozenset({"*", "pull", "push", "delete"}),
            id="everything",
        ),
        pytest.param(
            token({"access": [{"type": "repository", "name": "other", "actions": ["pull"]}]}), frozenset(), id="other"
        ),
        pytest.param(token({"access": []}), frozenset(), id="nothing"),
        pytest.param(token({"access": [None, {"type": "repository", "name": "app"}]}), frozenset(), id="nonsense"),
        pytest.param(token({"sub": "x"}), None, id="says-nothing"),
        pytest.param(token(["access"]), None, id="no-object"),
        pytest.param("opaque", None, id="opaque"),
        pytest.param("a.%%%.c", None, id="no-base64"),
        pytest.param("a.e30", None, id="two-parts"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_token_is_read_where_it_can_be(text: str, granted: frozenset[str] | None) -> None:
    assert read_granted(text, "app") == granted


def test_auth_check_tells_an_upload_that_is_refused() -> None:
    with serving(DISTRIBUTION_V3) as (target,):
        target.fault(Respond(403), method="POST", times=None)

        done = check([{"source": "oci:./x", "targets": [f"{target.host}/app"]}], {target.host: {}}, "--push")

        assert done.code == 3
        assert "DENIED" in done.stdout
