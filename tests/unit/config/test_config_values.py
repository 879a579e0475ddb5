"""Valid configuration files: what they mean."""

from __future__ import annotations

import io
import json
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mirrord.config.effective import effective
from mirrord.config.loader import Config, load_config
from mirrord.errors import ConfigError
from mirrord.oci.platform import Platform
from mirrord.oci.reference import LayoutDirectory, Repository, Tag
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.rule import ForeignLayers, IndexMode, NewestBy, OnRollback, Policy, Rule, Source, TagSelector
from mirrord.ports.settings import CommandSecret, EnvSecret, FileSecret, RegistrySettings, TlsSettings

Load = Callable[..., Config]

ROOT = Path(__file__).parents[3]
HEAD = "version: 1\n"


def one_rule(load: Load, text: str, environment: Mapping[str, str] | None = None) -> Rule:
    (rule,) = load(f"{HEAD}rules:\n  - {text}\n", environment).rules
    return rule


def test_the_smallest_file_is_a_version_and_warns_that_it_does_nothing(load: Load) -> None:
    config = load(HEAD)

    assert (config.rules, dict(config.registries)) == ((), {})
    assert [warning.code for warning in config.warnings] == ["NO_RULES"]


def test_sections_with_nothing_but_comments_are_empty(load: Load) -> None:
    config = load(HEAD + "registries:\n#  a: {}\ndefaults:\nrules:\n  - name: a\n    source: nginx\n"
                  "    targets: [r.example/a]\n    tags:\n#     include: []\n")  # fmt: skip

    assert config.rules[0].tags == TagSelector()


def test_registries_without_settings_have_the_defaults(load: Load) -> None:
    config = load(HEAD + "registries: {ghcr.io: , quay.io: {}}\n")

    assert config.registries == {
        "ghcr.io": RegistrySettings(host="ghcr.io"),
        "quay.io": RegistrySettings(host="quay.io"),
    }


def test_every_setting_of_a_registry_arrives(load: Load, tmp_path: Path) -> None:
    config = load(
        HEAD + "registries:\n"
        "  Registry.Internal:5000:\n"
        "    provider: generic\n"
        "    username: 007\n"
        "    password: {file: secrets/token}\n"
        "    tls: {ca_file: ca.pem, cert_file: /etc/c.pem, key_file: k.pem, verify: false}\n"
        "    concurrency: 16\n"
        "    requests_per_second: 0.5\n"
        "    bandwidth: 50MiB\n"
        "    mirrors: [INDEX.docker.io, m.example]\n"
        "    auth_hosts: [auth.example]\n"
        "    proxy: http://proxy.example:3128\n"
        "    quota: {reserve: 20}\n"
        "    create_repositories: {tag_immutability: true, tags: {team: 1.20, x-cost: no}}\n"
    )

    assert config.registries["registry.internal:5000"] == RegistrySettings(
        host="registry.internal:5000",
        provider="generic",
        username="007",
        password=FileSecret(str(tmp_path / "secrets/token")),
        tls=TlsSettings(
            ca_file=str(tmp_path / "ca.pem"),
            cert_file="/etc/c.pem",
            key_file=str(tmp_path / "k.pem"),
            verify=False,
        ),
        concurrency=16,
        requests_per_second=0.5,
        bandwidth=50 * 1024**2,
        mirrors=("docker.io", "m.example"),
        auth_hosts=("auth.example",),
        proxy="http://proxy.example:3128",
        quota_reserve=20,
        create_repositories={"tag_immutability": True, "scan_on_push": False, "tags": {"team": "1.20", "x-cost": "no"}},
    )


@pytest.mark.covers("E90", "E91")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        pytest.param('"${TOKEN}"', EnvSecret("TOKEN"), id="variable"),
        pytest.param("{env: TOKEN}", EnvSecret("TOKEN"), id="env"),
        pytest.param("{file: /run/token}", FileSecret("/run/token"), id="file"),
    ],
)
def test_secrets_are_references_that_need_not_resolve_yet(load: Load, text: str, secret: EnvSecret) -> None:
    config = load(f"{HEAD}registries: {{ghcr.io: {{username: u, password: {text}}}}}\n")

    assert config.registries["ghcr.io"].password == secret


def test_secret_commands_run_beside_the_file(load: Load, tmp_path: Path) -> None:
    config = load(HEAD + "registries: {ghcr.io: {username: u, password: {command: [./token, 1.20]}}}\n")

    assert config.registries["ghcr.io"].password == CommandSecret(("./token", "1.20"), str(tmp_path))


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        pytest.param("null", None, id="nothing"),
        pytest.param("environment", "environment", id="environment"),
        pytest.param("'${PROXY:-}'", None, id="empty variable"),
        pytest.param("'http://u:${PASSWORD}@p.example:1'", "http://u:hunter2@p.example:1", id="with password"),
    ],
)
def test_a_proxy_is_used_only_where_it_is_asked_for(load: Load, text: str, proxy: str | None) -> None:
    config = load(f"{HEAD}registries: {{ghcr.io: {{proxy: {text}}}}}\n", {"PASSWORD": "hunter2", "HTTPS_PROXY": "x"})

    assert config.registries["ghcr.io"].proxy == proxy
    assert "hunter2" not in repr(config)
    assert "hunter2" not in str(effective(config))


def test_x_keys_under_registries_are_registries_only_with_a_dot_or_port(load: Load) -> None:
    config = load(HEAD + "registries:\n  x-base: &base {concurrency: 2}\n  x-y.example: *base\n  x-z:5000: *base\n")

    assert list(config.registries) == ["x-y.example", "x-z:5000"]


def test_a_registry_s_key_may_come_from_a_variable(load: Load) -> None:
    config = load(HEAD + 'registries: {"${HOST}:5000": {concurrency: 2}}\n', {"HOST": "r.example"})

    assert list(config.registries) == ["r.example:5000"]


@pytest.mark.covers("E79")
def test_tags_are_the_characters_as_written(load: Load) -> None:
    rule = one_rule(load, "{name: 010, source: nginx, targets: [r.example/a], tags: {include: "
                    "[1.20, 010, 22:30, no, 0x10, true, 1e3, on]}}".replace("22:30, ", ""))  # fmt: skip

    assert rule.name == "010"
    assert [str(pattern) for pattern in rule.tags.include] == ["1.20", "010", "no", "0x10", "true", "1e3", "on"]


def test_every_option_of_a_rule_arrives(load: Load) -> None:
    config = load(
        HEAD + "rules:\n"
        "  - name: a\n"
        "    source: ghcr.io/acme/**\n"
        "    targets: ['r.example/{namespace}/{name}:x-{tag}']\n"
        "    repositories: {include: [acme/*], exclude: [acme/sandbox-*]}\n"
        "    tags: {include: [v*], semver: '>=1', exclude: [v1], newest: {count: 5, by: created}, max_age: 90d}\n"
        "    platforms: [linux/amd64, linux/arm/v7]\n"
        "    index: sparse\n"
        "    schedule: {cron: '0  3 * * MON', timezone: UTC, jitter: 2m}\n"
        "    freshness: 1h\n"
        "    referrers: {types: [application/spdx+json], recheck: 0s}\n"
        "    overwrite: false\n"
        "    immutable_tags: ['/^v1$/']\n"
        "    target_recheck: 30m\n"
        "    foreign_layers: fetch\n"
        "    on_rollback: block\n"
        "    prune: {grace: 1d, max_tags: 3, max_share: 2.5%}\n"
    )
    (rule,) = config.rules
    options = config.options["a"]

    assert rule.source.location is None
    assert rule.source.repositories is not None
    assert rule.source.repositories.host == "ghcr.io"
    assert rule.source.repositories.pattern == PathPattern.parse("acme/**")
    assert rule.source.repositories.include == (PathPattern.parse("acme/*"),)
    assert rule.source.repositories.exclude == (PathPattern.parse("acme/sandbox-*"),)
    assert [str(target) for target in rule.targets] == ["r.example/{namespace}/{name}:x-{tag}"]
    assert rule.tags.include == (TagPattern.parse("v*"),)
    assert str(rule.tags.semver) == ">=1"
    assert rule.tags.exclude == (TagPattern.parse("v1"),)
    assert rule.tags.newest is not None
    assert (rule.tags.newest.count, rule.tags.newest.by) == (5, NewestBy.CREATED)
    assert rule.tags.max_age == timedelta(days=90)
    assert rule.platforms.platforms == (Platform("linux", "amd64"), Platform("linux", "arm", "v7"))
    assert rule.platforms.mode is IndexMode.SPARSE
    assert (rule.referrers.enabled, rule.referrers.types) == (True, ("application/spdx+json",))
    assert rule.referrers.recheck == timedelta(0)
    assert rule.policy == Policy(
        overwrite=False,
        immutable_tags=(TagPattern.parse("/^v1$/"),),
        target_recheck=timedelta(minutes=30),
        foreign_layers=ForeignLayers.FETCH,
        on_rollback=OnRollback.BLOCK,
    )
    assert options.schedule is not None
    assert (options.schedule.cron, options.schedule.timezone) == ("0 3 * * MON", "UTC")
    assert options.schedule.jitter == timedelta(minutes=2)
    assert options.freshness == timedelta(hours=1)
    assert (options.prune.enabled, options.prune.grace, options.prune.max_tags) == (True, timedelta(days=1), 3)
    assert options.prune.max_share == 0.025


def test_a_rule_without_options_has_the_planner_s_defaults(load: Load) -> None:
    rule = one_rule(load, "{name: a, source: nginx, targets: [r.example/a]}")

    source = Source(location=Repository("docker.io", "library/nginx"))
    assert rule == Rule(name="a", source=source, targets=rule.targets)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        pytest.param("nginx", Source(location=Repository("docker.io", "library/nginx")), id="Docker Hub"),
        pytest.param(
            "quay.io/a/b:v3.1.0", Source(location=Repository("quay.io", "a/b"), tag=Tag("v3.1.0")), id="one tag"
        ),
        pytest.param("oci:./in", Source(location=LayoutDirectory("./in")), id="layout"),
        pytest.param("oci:./in:v1", Source(location=LayoutDirectory("./in"), tag=Tag("v1")), id="layout with tag"),
    ],
)
def test_sources_are_references(load: Load, text: str, source: Source) -> None:
    assert one_rule(load, f"{{name: a, source: '{text}', targets: [r.example/a]}}").source == source


@pytest.mark.covers("E89")
def test_of_a_tag_with_a_digest_both_arrive(load: Load) -> None:
    digest = f"sha256:{'0' * 64}"

    source = one_rule(load, f"{{name: a, source: 'nginx:1@{digest}', targets: [r.example/a]}}").source

    assert (str(source.tag), str(source.digest)) == ("1", digest)


@pytest.mark.parametrize(
    ("text", "host", "pattern"),
    [
        pytest.param("ghcr.io/acme/*", "ghcr.io", "acme/*", id="registry"),
        pytest.param("bitnami/*", "docker.io", "bitnami/*", id="Docker Hub"),
        pytest.param("node*", "docker.io", "library/node*", id="Docker Hub library"),
        pytest.param("r.example/**", "r.example", "**", id="everything"),
    ],
)
def test_patterns_of_repositories_have_a_registry(load: Load, text: str, host: str, pattern: str) -> None:
    source = one_rule(load, f"{{name: a, source: '{text}', targets: ['t.example/{{repository}}']}}").source

    assert source.repositories is not None
    assert (source.repositories.host, str(source.repositories.pattern)) == (host, pattern)


def test_a_rule_overrides_defaults_key_by_key(load: Load) -> None:
    config = load(
        HEAD + "defaults: {schedule: 15m, overwrite: false, tags: {exclude: ['*-rc*']}, referrers: false}\n"
        "rules:\n"
        "  - {name: a, source: nginx, targets: [r.example/a]}\n"
        "  - {name: b, source: redis, targets: [r.example/b], overwrite: true, schedule: null, tags: {include: [v1]}}\n"
        "  - {name: c, source: 'redis:1', targets: [r.example/c]}\n"
    )

    assert [rule.policy.overwrite for rule in config.rules] == [False, True, False]
    assert [config.options[name].schedule is None for name in "abc"] == [False, True, False]
    assert [[str(p) for p in rule.tags.include + rule.tags.exclude] for rule in config.rules] == [["*-rc*"], ["v1"], []]
    assert not any(rule.referrers.enabled for rule in config.rules)


@pytest.mark.parametrize(
    ("text", "every", "cron"),
    [
        pytest.param("15m", timedelta(minutes=15), None, id="interval"),
        pytest.param("1h30m", timedelta(minutes=90), None, id="two units"),
        pytest.param("'0 */6 * * *'", None, "0 */6 * * *", id="cron"),
        pytest.param("'@Daily'", None, "0 0 * * *", id="shorthand"),
        pytest.param("{every: 15m}", timedelta(minutes=15), None, id="mapping"),
        pytest.param("'${EVERY}'", timedelta(seconds=5), None, id="variable"),
    ],
)
def test_schedules_are_intervals_or_times(load: Load, text: str, every: timedelta | None, cron: str | None) -> None:
    config = load(
        f"{HEAD}rules: [{{name: a, source: nginx, targets: [r.example/a], schedule: {text}}}]", {"EVERY": "5s"}
    )

    schedule = config.options["a"].schedule
    assert schedule is not None
    assert (schedule.every, schedule.cron) == (every, cron)


def test_utc_is_known_where_no_time_zones_are_installed(load: Load) -> None:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=["/nowhere"])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        config = load(
            HEAD + "rules: [{name: a, source: b, targets: [r.example/a], schedule: {cron: '@daily', timezone: UTC}}]"
        )
    finally:
        zoneinfo.reset_tzpath(to=before)

    schedule = config.options["a"].schedule
    assert schedule is not None
    assert schedule.timezone == "UTC"


@pytest.mark.covers("E91")
def test_variables_are_replaced_in_values_of_every_kind(load: Load) -> None:
    config = load(
        HEAD + "registries:\n  r.example: {concurrency: '${N}', tls: {verify: '${V}'}, username: '${U:-bot}',\n"
        "    password: '${UNSET}'}\n"
        "rules:\n  - {name: a, source: '${REG}/app', targets: ['r.example/a'], tags: {include: ['/^v1$/', '/$$/']}}\n",
        {"N": "4", "V": "false", "REG": "quay.io"},
    )

    settings = config.registries["r.example"]
    assert (settings.concurrency, settings.tls.verify, settings.username) == (4, False, "bot")
    assert config.rules[0].source.location == Repository("quay.io", "app")
    assert [str(pattern) for pattern in config.rules[0].tags.include] == ["/^v1$/", "/$/"]


def test_a_value_from_a_variable_cannot_change_the_structure(load: Load) -> None:
    value = "a], tags: {include: [b"

    with pytest.raises(ConfigError) as caught:
        load(HEAD + "rules: [{name: a, source: nginx, targets: ['${T}']}]", {"T": value})

    assert [problem.key for problem in caught.value.problems] == ["rules[0].targets[0]"]


@pytest.mark.covers("E77")
def test_anchors_and_merges_are_followed(load: Load) -> None:
    config = load(
        HEAD + "x-one: &one {include: [v*], exclude: [a]}\n"
        "x-two: &two {exclude: [b], max_age: 1d}\n"
        "x-loops: {x-not: [checked, {at: all}]}\n"
        "rules:\n"
        "  - {name: a, source: nginx, targets: [r.example/a], tags: {<<: *one}}\n"
        "  - {name: b, source: redis, targets: [r.example/b], tags: {<<: [*one, *two], exclude: [c]}}\n"
        "  - {name: c, source: httpd, targets: [r.example/c], tags: *two, x-why: because}\n"
    )

    assert [[str(p) for p in rule.tags.include] for rule in config.rules] == [["v*"], ["v*"], []]
    assert [[str(p) for p in rule.tags.exclude] for rule in config.rules] == [["a"], ["c"], ["b"]]
    assert [rule.tags.max_age for rule in config.rules] == [None, timedelta(days=1), timedelta(days=1)]


def test_a_fault_in_an_anchor_is_told_where_it_is_written(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            HEAD + "x-one: &one\n  includ: [v*]\nrules:\n  - {name: a, source: b, targets: [r.example/a], tags: *one}\n"
        )

    assert [(p.line, p.column, p.key) for p in caught.value.problems] == [(3, 3, "rules[0].tags.includ")]


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        pytest.param("index: sparse", "NO_EFFECT", "index", id="index without platforms"),
        pytest.param("schedule: 2h, freshness: 1h", "FRESHNESS_UNKEPT", "freshness", id="freshness"),
        pytest.param("prune: {max_share: 0%}", "NO_EFFECT", "prune.max_share", id="prune 0%",
                     marks=pytest.mark.covers("E99")),
        pytest.param("prune: {max_tags: 0}", "NO_EFFECT", "prune.max_tags", id="prune 0 tags"),
        pytest.param("prune: true, tags: {include: [/.*/]}", "PRUNE_WIDE", "tags.include", id="prune everything",
                     marks=pytest.mark.covers("E83")),
        pytest.param("prune: true, tags: {include: [//]}", "PRUNE_WIDE", "tags.include", id="prune by nothing",
                     marks=pytest.mark.covers("E83")),
    ],
)  # fmt: skip
def test_what_is_allowed_but_doubtful_is_a_warning(load: Load, text: str, code: str, key: str) -> None:
    (warning,) = load(f"{HEAD}rules:\n  - {{name: a, source: nginx, targets: [r.example/a], {text}}}\n").warnings

    assert (warning.code, warning.key, warning.line) == (code, f"rules[0].{key}", 3)


def test_a_schedule_that_keeps_its_freshness_is_no_warning(load: Load) -> None:
    config = load(
        HEAD + "rules: [{name: a, source: b, targets: [r.example/a], schedule: 5m, freshness: 1h, prune: true}]"
    )

    assert config.warnings == ()


def test_risky_settings_of_a_registry_are_warnings(load: Load, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    token.chmod(0o644)
    config = load(
        HEAD + "registries:\n"
        "  a.example: {tls: {verify: false}}\n"
        "  b.example: {plain_http: true, username: u, password: {env: T}}\n"
        "  localhost:5000: {plain_http: true, username: u, password: {env: T}}\n"
        "  c.example: {username: u, password: {file: token}}\n"
        "  d.example: {username: u, password: {file: missing}}\n"
        "rules: [{name: a, source: b, targets: [r.example/a]}]"
    )

    assert [(warning.line, warning.code) for warning in config.warnings] == [
        (3, "TLS_UNVERIFIED"),
        (4, "CREDENTIAL_UNENCRYPTED"),
        (6, "SECRET_FILE_EXPOSED"),
    ]


@pytest.mark.covers("E80")
def test_leniently_faulty_rules_are_left_out_and_told(load: Load) -> None:
    text = (
        HEAD + "rules:\n"
        "  - {name: a, source: nginx, targets: [r.example/a], schedule: 5 minutes}\n"
        "  - {name: b, source: redis, targets: [r.example/b]}\n"
        "  - {name: c, source: httpd, targets: ['r.example/c:fix']}\n"
    )

    config = load(text, lenient=True)

    assert [rule.name for rule in config.rules] == ["b"]
    assert [rule.name for rule in config.document.rules] == ["b"]
    assert list(config.options) == ["b"]
    assert [(warning.line, warning.code) for warning in config.warnings] == [
        (3, "DURATION_INVALID"),
        (5, "RULE_CONFLICT"),
    ]


def test_leniently_faults_outside_of_rules_are_still_errors(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(HEAD + "registries: {a: {concurrency: 0}}\nrules: [{name: a}]\n", lenient=True)

    assert [problem.code for problem in caught.value.problems] == ["OUT_OF_RANGE"] + ["CONFIG_MISSING_KEY"] * 2


def test_the_example_is_valid_and_warns_of_nothing() -> None:
    config = load_config(str(ROOT / "config.example.yaml"), {})

    assert [rule.name for rule in config.rules] == ["nginx", "team-images", "traefik", "one-image"]
    assert not config.warnings


def test_the_effective_configuration_reads_back_the_same(load: Load) -> None:
    config = load_config(str(ROOT / "config.example.yaml"), {})

    again = load(yaml.safe_dump(effective(config)))

    assert again.rules == config.rules
    assert again.registries == config.registries
    assert effective(again) == effective(config)


def test_the_effective_configuration_fills_in_defaults_and_shows_no_secret(load: Load) -> None:
    config = load(
        HEAD + "registries: {docker.io: {username: u, password: '${TOKEN}'}}\n"
        "defaults: {schedule: 15m, repositories: {exclude: [a]}}\n"
        "rules: [{name: a, source: nginx, targets: [r.example/a]}]",
        {"TOKEN": "hunter2"},
    )
    shown = effective(config)

    assert "hunter2" not in str(shown)
    assert json.loads(json.dumps(shown)) == shown
    text = yaml.safe_dump(shown, sort_keys=False, default_flow_style=None, width=1000)
    assert "schedule: {every: 15m, timezone: UTC, jitter: 0s}" in text
    assert "recheck: 1d" in text
    assert "password: {env: TOKEN}" in text


def test_the_configuration_may_come_from_standard_input() -> None:
    config = load_config("-", {}, stdin=io.BytesIO(b"version: 1\n"))

    assert (config.file, config.directory) == ("<stdin>", str(Path.cwd()))


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.covers("E110")
def test_a_terminal_is_not_waited_for() -> None:
    with pytest.raises(ConfigError, match="standard input is a terminal"):
        load_config("-", {}, stdin=Terminal())


@pytest.mark.covers("E110")
def test_a_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none where a process was started without one."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(ConfigError, match="standard input is closed"):
        load_config("-", {})


@pytest.mark.covers("E110")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("missing.yaml", r"No such file or directory; write it .* or name another", id="missing"),
        pytest.param(".", "Is a directory", id="directory"),
        pytest.param("a\0b", "path is not valid", id="NUL"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_so(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(f"{tmp_path}/{name}", {})

    assert caught.value.problems[0].code == "CONFIG_UNREADABLE"


def test_an_editor_s_byte_order_mark_is_no_fault(load: Load) -> None:
    assert load(b"\xef\xbb\xbfversion: 1\r\n").document.version == 1


def test_configuration_knows_where_it_names_each_rule(load: Load) -> None:
    config = load(
        "version: 1\n"
        "rules:\n"
        "  - source: nginx\n"
        "    targets: [r.example/nginx]\n"
        "    name: nginx\n"
        "  - {name: redis, source: redis, targets: [r.example/redis]}\n"
    )

    assert config.places == {"nginx": (5, 5), "redis": (6, 6)}
