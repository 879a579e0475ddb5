"""Faulty configuration files: where and how each fault is told."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mirrord.config.loader import MAX_PROBLEMS
from mirrord.errors import ConfigProblem

Raised = Callable[..., tuple[ConfigProblem, ...]]

HEAD = "version: 1\n"
RULE = "rules:\n  - {name: ab, source: nginx, targets: [r.example/a]"


def row(row_id: str, covers: str, text: str, code: str, place: str, said: str) -> object:  # noqa: PLR0917 - columns
    return pytest.param(text, code, place, said, id=row_id, marks=pytest.mark.covers(covers))


def rule(rest: str) -> str:
    return f"{HEAD}{RULE}, {rest}}}\n"


def registry(rest: str, host: str = "r.example") -> str:
    return f'{HEAD}registries:\n  "{host}": {{{rest}}}\n'


@pytest.mark.parametrize(
    ("text", "code", "place", "said"),
    [
        row("empty file", "E73", "", "CONFIG_EMPTY", "", "says nothing"),
        row("only comments", "E73", "# a\n# b\n", "CONFIG_EMPTY", "", "says nothing"),
        row("null", "E73", "~\n", "CONFIG_EMPTY", "", "says nothing"),
        row("top level a list", "E73", "# a\n- 1\n", "CONFIG_INVALID", "2:1", "got a list"),
        row("top level text", "E73", "hello\n", "CONFIG_INVALID", "1:1", "got text"),
        row("no version", "E73", "rules: []\n", "CONFIG_MISSING_KEY", "1:1", 'the key "version" is missing'),
        row("other version", "E73", "version: 2\n", "VERSION_UNSUPPORTED", "1:1", "write version: 1"),
        row("two documents", "E73", "version: 1\n---\nversion: 1\n", "CONFIG_INVALID", "2:1", "second document"),
        row("unknown key", "E74", rule("tag_regx: x"), "CONFIG_UNKNOWN_KEY", "3:55", "unknown key"),
        row("near key", "E74", rule("shedule: 15m"), "CONFIG_UNKNOWN_KEY", "3:55", '(did you mean "schedule"?)'),
        row("near key below", "E74", rule("tags: {exclud: []}"), "CONFIG_UNKNOWN_KEY", "3:62", '"exclude"?'),
        row("near key of shorthand", "E74", rule("schedule: {crn: x, every: 1h}"),
            "CONFIG_UNKNOWN_KEY", "3:66", '"cron"?'),
        row("near key of registry", "E74", registry("mirors: []"), "CONFIG_UNKNOWN_KEY", "3:17", '"mirrors"?'),
        row("include", "E104", HEAD + "include: [x.yaml]\n", "CONFIG_UNKNOWN_KEY", "2:1", "unknown key"),
        row("duplicate key", "E75", HEAD + "rules: []\nrules: []\n", "CONFIG_DUPLICATE_KEY", "3:1", "first on line 2"),
        row("python tag", "E76", HEAD + "x-a: !!python/object/apply:os.system [ls]\n", "CONFIG_TAG_FORBIDDEN", "2:6",
            "python/object/apply:os.system"),
        row("own tag", "E76", HEAD + "x-a: !secret hunter2\n", "CONFIG_TAG_FORBIDDEN", "2:6", "needs quotes"),
        row("self reference", "E77", HEAD + "x-a: &a [*a]\n", "CONFIG_ALIAS_LIMIT", "2:10", "refers to itself"),
        row("unknown alias", "E77", HEAD + "x-a: *hunter2\n", "CONFIG_SYNTAX", "2:6", "not defined above"),
        row("too deep", "E78", HEAD + "x-a: " + "[" * 60, "CONFIG_TOO_DEEP", "2:55", "50 levels"),
        row("too deep for libyaml", "E78", HEAD + "x-a: " + "[" * 100_000, "CONFIG_TOO_DEEP", "2:1005", "50 levels"),
        row("tab", "E78", "version: 1\nrules:\n\t- a\n", "CONFIG_SYNTAX", "3:1", "a tab stands here"),
        row("unclosed list", "E78", HEAD + "rules: [a\nx: y\n", "CONFIG_SYNTAX", "3:2", "no YAML"),
        row("unquoted at", "E78", HEAD + "x-a: @b\n", "CONFIG_SYNTAX", "2:6", "needs quotes"),
        row("unquoted placeholder", "E78", HEAD + "x-a: [b/{name}]\n", "CONFIG_SYNTAX", "2:9", "inside [ ]"),
        row("keys of an item not below each other", "E78", HEAD + "rules:\n  - name: a\n  source: b\n", "CONFIG_SYNTAX",
            "4:3", "the keys of one item begin in the same column"),
        row("keys of a mapping not below each other", "E78", HEAD + "defaults:\n    schedule: 1h\n  freshness: 1h\n",
            "CONFIG_SYNTAX", "4:3", "begin in the same column"),
        row("unquoted range", "E78", HEAD + "x-a:\n  semver: >=1.1\n", "CONFIG_SYNTAX", "3:12",
            "text that begins with > or | needs quotes"),
        row("unquoted placeholder in an item", "E78", HEAD + "x-a:\n  - {name}/web\n", "CONFIG_SYNTAX", "3:11",
            "text that begins with { or [ needs quotes"),
        row("colon in text", "E78", HEAD + "x-a: nginx: latest\n", "CONFIG_SYNTAX", "2:11",
            'text with ": " needs quotes'),
        row("list as key", "E78", HEAD + "? [a]\n: b\n", "CONFIG_SYNTAX", "2:3", "a key must be text"),
        row("merge of text", "E78", HEAD + "<<: abc\n", "CONFIG_INVALID", "2:1", "merges a mapping"),
        row("flag no", "E79", rule("overwrite: no"), "CONFIG_TYPE", "3:55", 'got "no"; write false'),
        row("flag on", "E79", rule("overwrite: on"), "CONFIG_TYPE", "3:55", 'got "on"; write true'),
        row("flag quoted", "E79", rule("overwrite: 'true'"), "CONFIG_TYPE", "3:55", "leave out the quotes"),
        row("flag number", "E79", rule("overwrite: 1"), "CONFIG_TYPE", "3:55", 'got "1"'),
        row("flag nothing", "E79", rule("overwrite: "), "CONFIG_TYPE", "3:55", "got nothing"),
        row("hexadecimal count", "E79", registry("concurrency: 0x10"), "CONFIG_TYPE", "3:17", 'got "0x10"'),
        row("octal count", "E79", registry("concurrency: 010"), "CONFIG_TYPE", "3:17", 'got "010"'),
        row("sexagesimal count", "E79", registry("concurrency: 22:22"), "CONFIG_TYPE", "3:17", 'got "22:22"'),
        row("null tag", "E79", rule("tags: {include: [null]}"), "CONFIG_TYPE", "3:72", "got nothing"),
        row("list for text", "E79", rule("name: [a]"), "CONFIG_DUPLICATE_KEY", "3:55", "stands twice"),
        row("text for list", "E79", rule("platforms: linux/amd64"), "CONFIG_TYPE", "3:55", "expected a list, got text"),
        row("mapping for list", "E79", rule("platforms: {a: b}"), "CONFIG_TYPE", "3:55", "got a mapping"),
        row("text for mapping", "E79", rule("tags: abc"), "CONFIG_TYPE", "3:55", "expected a mapping, got text"),
        row("list for mapping", "E79", rule("tags: []"), "CONFIG_TYPE", "3:55", "expected a mapping, got a list"),
        row("list for filters", "E79", rule("tags: [latest]"), "CONFIG_TYPE", "3:55", "write {include: [...]}"),
        row("expression without slashes", "E82", rule("tags: {include: ['^v1']}"), "PATTERN_INVALID", "3:72",
            'a regular expression stands between "/" and "/"'),
        row("target without a repository", "E111",
            HEAD + "rules:\n  - {name: a, source: b/c, targets: ['r.example']}\n", "REFERENCE_INVALID", "3:38",
            "r.example/NAME"),
        row("list for registries", "E79", HEAD + "registries: []\n", "CONFIG_TYPE", "2:1", "expected a mapping"),
        row("text for rule", "E79", HEAD + "rules: [abc]\n", "CONFIG_TYPE", "2:9", "expected a mapping, got text"),
        row("mapping for text", "E79", rule("freshness: {a: b}"), "CONFIG_TYPE", "3:55", "got a mapping"),
        row("schedule 0", "E80", rule("schedule: 0"),
            "DURATION_INVALID", "3:55", "expected a duration from 1s to 365d"),
        row("schedule 0s", "E80", rule("schedule: 0s"), "DURATION_INVALID", "3:55", "out of range"),
        row("schedule negative", "E80", rule("schedule: -5m"), "DURATION_INVALID", "3:55", '"-5m" is no duration'),
        row("schedule 1e99h", "E80", rule("schedule: 1e99h"), "DURATION_INVALID", "3:55", "is no duration"),
        row("schedule huge", "E80", rule("schedule: 999999999999d"), "DURATION_INVALID", "3:55", "out of range"),
        row("schedule in words", "E80", rule("schedule: 5 minutes"), "DURATION_INVALID", "3:55", "is no duration"),
        row("schedule NaN", "E80", rule("schedule: .nan"), "DURATION_INVALID", "3:55", "is no duration"),
        row("schedule ISO", "E80", rule("schedule: PT5M"), "DURATION_INVALID", "3:55", "such as 90s, 15m, 6h, 30d"),
        row("schedule both", "E80", rule("schedule: {every: 1h, cron: '@daily'}"),
            "SCHEDULE_INVALID", "3:55", "either"),
        row("schedule neither", "E80", rule("schedule: {jitter: 1m}"), "SCHEDULE_INVALID", "3:55", "either"),
        row("jitter too long", "E80", rule("schedule: {every: 1m, jitter: 1m}"), "SCHEDULE_INVALID", "3:77", "shorter"),
        row("zone without cron", "E80", rule("schedule: {every: 1m, timezone: Europe/Berlin}"),
            "SCHEDULE_INVALID", "3:77",
            "with cron only"),
        row("zone unknown", "E81", rule("schedule: {cron: '@daily', timezone: Mars/Base}"), "TIMEZONE_INVALID", "3:82",
            "no time zone"),
        row("zone a path", "E81", rule("schedule: {cron: '@daily', timezone: ../etc}"), "TIMEZONE_INVALID", "3:82",
            "no time zone"),
        row("cron minute 60", "E81", rule("schedule: '60 * * * *'"), "CRON_INVALID", "3:55", 'the minute is "60"'),
        row("cron six fields", "E81", rule("schedule: '0 0 0 * * *'"), "CRON_INVALID", "3:55", "it has 6 fields"),
        row("cron 31 February", "E81", rule("schedule: '0 0 31 2 *'"), "CRON_NEVER_FIRES", "3:55", "never fires"),
        row("regex unbalanced", "E82", rule("tags: {include: [/(/]}"), "REGEX_INVALID", "3:72", "missing )"),
        row("regex lookahead", "E82", rule("tags: {include: ['/(?!a)/']}"), "REGEX_INVALID", "3:72", "look-around"),
        row("regex long", "E82", rule(f"tags: {{include: [/{'a' * 10_000}/]}}"), "PATTERN_INVALID", "3:72", "at most"),
        row("pattern empty", "E82", rule("tags: {include: ['']}"), "CONFIG_TYPE", "3:72", "got empty text"),
        row("semver", "E82", rule("tags: {semver: '>=banana'}"), "SEMVER_INVALID", "3:62", "banana"),
        row("platform", "E82", rule("platforms: [amd64]"), "PLATFORM_INVALID", "3:67", "os/architecture"),
        row("path pattern", "E82", HEAD + "rules: [{name: a, source: ghcr.io/a/*, targets: ['r.example/{name}'], "
            "repositories: {exclude: [A/*]}}]", "PATTERN_INVALID", "2:96", "repository path"),
        row("registry userinfo", "E87", registry("", "u:p@r.example"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry path", "E87", registry("", "r.example/path"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry query", "E87", registry("", "r.example?a=b"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry scheme", "E87", registry("", "ftp://r.example"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry port", "E87", registry("", "r.example:70000"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry IPv6", "E87", registry("", "::1"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry unicode", "E87", registry("", "bücher.example"), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("registry dot", "E87", registry("", "r.example."), "REGISTRY_INVALID", "3:3", "is no registry"),
        row("mirror host", "E87", registry("mirrors: ['http://m']"), "REGISTRY_INVALID", "3:27", "is no registry"),
        row("source upper case", "E89", HEAD + "rules: [{name: a, source: r.example/A, targets: [r.example/a]}]",
            "REFERENCE_INVALID", "2:19", "lower-case"),
        row("source slashes", "E89", HEAD + "rules: [{name: a, source: r.example//a, targets: [r.example/b]}]",
            "REFERENCE_INVALID", "2:19", "no repository name"),
        row("source placeholder", "E89",
            HEAD + "rules: [{name: a, source: 'r.example/{name}', targets: [r.example/b]}]",
            "REFERENCE_INVALID", "2:19", "a pattern uses"),
        row("source two digests", "E111", HEAD + "rules: [{name: a, source: a@b@c, targets: [r.example/b]}]",
            "REFERENCE_INVALID", "2:19", "second"),
        row("source no tag", "E111", HEAD + "rules: [{name: a, source: 'image:', targets: [r.example/b]}]",
            "REFERENCE_INVALID", "2:19", "no tag"),
        row("source short digest", "E111",
            HEAD + "rules: [{name: a, source: image@sha256:short, targets: [r.example/b]}]",
            "REFERENCE_INVALID", "2:19", "after character 6"),
        row("pattern with tag", "E89",
            HEAD + "rules: [{name: a, source: 'ghcr.io/a/*:v1', targets: ['r.example/{name}']}]",
            "PATTERN_INVALID", "2:19", "neither tag nor digest"),
        row("target digest", "E89",
            HEAD + f"rules: [{{name: a, source: nginx, targets: ['r.example/b@sha256:{'0' * 64}']}}]",
            "TEMPLATE_INVALID", "2:44", "digest"),
        row("unset variable", "E91", rule("freshness: '${LATER}'"), "ENV_UNSET", "3:55", "LATER is not set"),
        row("unset with message", "E91", rule("freshness: '${LATER:?say when}'"),
            "ENV_UNSET", "3:55", "not set: say when"),
        row("nested variable", "E91", rule("freshness: '${A${B}}'"), "INTERPOLATION_INVALID", "3:55", "is no variable"),
        row("command", "E91", rule("freshness: '$(date)'"), "INTERPOLATION_INVALID", "3:55", "never does"),
        row("unset in key", "E91", registry("", "${REGISTRY}"), "ENV_UNSET", "3:3", "REGISTRY is not set"),
        row("aliases of a registry", "E93", HEAD + "registries: {docker.io: {}, index.docker.io: {}}\n",
            "CREDENTIAL_AMBIGUOUS", "2:29", 'this and "docker.io" are the same registry'),
        row("template attribute", "E96",
            rule("index: sparse").replace("[r.example/a]", "['r.example/{source.__class__}']"),
            "TEMPLATE_INVALID", "3:41", "{registry} {repository} {namespace} {name}"),
        row("template number", "E96", rule("index: sparse").replace("[r.example/a]", "['r.example/{0}']"),
            "TEMPLATE_INVALID", "3:41", "no placeholder"),
        row("template braces", "E96", rule("index: sparse").replace("[r.example/a]", "['r.example/{{']"),
            "TEMPLATE_INVALID", "3:41", "no placeholder"),
        row("template result", "E97", rule(f"tags: {{include: [{'v' * 20}]}}").replace(
            "[r.example/a]", f"['r.example/a:{'x' * 120}-{{tag}}']"), "TEMPLATE_RESULT_INVALID", "3:41", "gives"),
        row("concurrency 0", "E98", registry("concurrency: 0"), "OUT_OF_RANGE", "3:17", "from 1 to 1,000"),
        row("concurrency -1", "E98", registry("concurrency: -1"), "OUT_OF_RANGE", "3:17", "-1 is out of range"),
        row("concurrency 10^9", "E98", registry("concurrency: 1000000000"), "OUT_OF_RANGE", "3:17", "out of range"),
        row("concurrency word", "E98", registry("concurrency: auto!"), "CONFIG_TYPE", "3:17", 'got "auto!"'),
        row("rate 0", "E98", registry("requests_per_second: 0"), "OUT_OF_RANGE", "3:17", "above 0"),
        row("rate word", "E98", registry("requests_per_second: fast"), "CONFIG_TYPE", "3:17", 'got "fast"'),
        row("bandwidth 1", "E98", registry("bandwidth: 1"), "OUT_OF_RANGE", "3:17", "from 1KiB"),
        row("bandwidth word", "E98", registry("bandwidth: 5 mb/s"), "SIZE_INVALID", "3:17", "such as 50MiB"),
        row("provider", "E98", registry("provider: habor"), "CONFIG_VALUE", "3:17", '(did you mean "harbor"?)'),
        row("proxy", "E98", registry("proxy: socks://hunter2@x"), "PROXY_INVALID", "3:17", "http://host:port"),
        row("proxy port", "E98", registry("proxy: 'http://hunter2@x:port'"), "PROXY_INVALID", "3:17", "http://host"),
        row("newest count", "E98", rule("tags: {newest: {count: 0}}"), "OUT_OF_RANGE", "3:71", "from 1"),
        row("share 150%", "E99", rule("prune: {max_share: 150%}"), "OUT_OF_RANGE", "3:63", "0% to 100%"),
        row("share -1%", "E99", rule("prune: {max_share: -1%}"), "OUT_OF_RANGE", "3:63", "0% to 100%"),
        row("share -1", "E99", rule("prune: {max_share: -1}"), "SHARE_INVALID", "3:63", "no percentage"),
        row("max_tags -1", "E99", rule("prune: {max_tags: -1}"), "OUT_OF_RANGE", "3:63", "from 0"),
        row("rule name", "E97", rule("index: sparse").replace("name: a", "name: A b"),
            "RULE_NAME_INVALID", "3:6", "1 to 63"),
        row("no targets", "E97", rule("index: sparse").replace("[r.example/a]", "[]"),
            "CONFIG_VALUE", "3:31", "at least one"),
        row("target twice", "E97", rule("index: sparse").replace("[r.example/a]", "[r.example/a, r.example/a]"),
            "RULE_CONFLICT", "3:54", "stands twice"),
        row("rule of nothing", "E73", HEAD + "rules:\n  -\n", "CONFIG_MISSING_KEY", "3:4", 'the key "name" is missing'),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_code_and_place(raised: Raised, text: str, code: str, place: str, said: str) -> None:
    problems = raised(text)

    first = next(problem for problem in problems if problem.code == code)
    assert (f"{first.line}:{first.column}" if first.line else "") == place
    assert said in first.message
    assert "hunter2" not in "".join(str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param(rule("schedule: {typo: 1}"), 1, id="schedule with an unknown key alone"),
        pytest.param(rule("schedule: 5 minutes"), 1, id="schedule shorthand"),
        pytest.param(rule("referrers: maybe"), 1, id="flag or mapping"),
        pytest.param(registry("username: a, password: 3"), 1, id="secret"),
    ],
)
def test_one_fault_is_told_once(raised: Raised, text: str, count: int) -> None:
    assert len(raised(text)) == count


def test_problems_read_like_a_compiler_s(raised: Raised) -> None:
    problem = raised(rule("shedule: 15m"))[0]

    assert str(problem).endswith('config.yaml:3:55: rules[0].shedule: unknown key (did you mean "schedule"?)')
    assert problem.file == str(problem).rsplit(":", 4)[0]


def test_all_faults_are_told_at_once_in_the_order_of_the_file(raised: Raised) -> None:
    problems = raised(
        HEAD
        + "registries:\n  r.example: {concurrency: 0, username: u}\n  r.example: {}\n"
        + "rules:\n  - name: a\n    source: A\n    shedule: 1h\n  - {name: b, source: c, targets: [r.example/b:fix]}\n"
    )

    assert [(problem.line, problem.code) for problem in problems] == [
        (3, "OUT_OF_RANGE"),
        (4, "CONFIG_DUPLICATE_KEY"),
        (6, "CONFIG_MISSING_KEY"),
        (7, "REFERENCE_INVALID"),
        (8, "CONFIG_UNKNOWN_KEY"),
    ]


def test_rules_without_faults_of_their_own_are_still_checked_together(raised: Raised) -> None:
    problems = raised(
        HEAD + "rules:\n  - {name: a}\n  - {name: b, source: c, targets: [r.example/b:fix]}\n"
        "  - {name: b, source: c:v1, targets: [docker.io/library/c]}\n"
    )

    assert [(problem.line, problem.key, problem.code) for problem in problems] == [
        (3, "rules[0]", "CONFIG_MISSING_KEY"),
        (3, "rules[0]", "CONFIG_MISSING_KEY"),
        (4, "rules[1].targets[0]", "RULE_CONFLICT"),
        (5, "rules[2].name", "RULE_NAME_DUPLICATE"),
        (5, "rules[2].targets[0]", "RULE_LOOP"),
    ]


def test_the_place_counts_characters_and_not_bytes(raised: Raised) -> None:
    problem = raised(HEAD + "x-ü: üüü\nregistries: {ü: {}}\n")[0]

    assert (problem.line, problem.column, problem.key) == (3, 14, 'registries["ü"]')


@pytest.mark.covers("E105")
def test_very_many_problems_are_cut(raised: Raised) -> None:
    problems = raised(HEAD + "rules:\n" + "  - {}\n" * 1000)

    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message == "there are 2,900 more problems"


@pytest.mark.covers("E105")
def test_very_many_rules_are_refused(raised: Raised) -> None:
    problem = raised(HEAD + "rules:\n" + "  - {}\n" * 20_001)[0]

    assert problem.code == "RULES_TOO_MANY"


@pytest.mark.covers("E78")
@pytest.mark.parametrize(
    ("content", "code", "place", "said"),
    [
        pytest.param("version: 1\n".encode("utf-16"), "CONFIG_ENCODING", (0, 0), "UTF-16", id="UTF-16"),
        pytest.param(b"version: 1\nx-a: \xff\n", "CONFIG_ENCODING", (2, 6), "0xff", id="Latin 1"),
        pytest.param(b"version: 1\nx\x00y: 1\n", "CONFIG_ENCODING", (2, 2), "U+0000", id="binary"),
        pytest.param(b"#" * (16 * 1024**2 + 1), "CONFIG_TOO_LARGE", (0, 0), "16 MiB", id="too large"),
    ],
)
def test_a_file_that_is_no_text_is_refused(
    raised: Raised, content: bytes, code: str, place: tuple[int, int], said: str
) -> None:
    (problem,) = raised(content)

    assert (problem.code, (problem.line, problem.column)) == (code, place)
    assert said in problem.message


@pytest.mark.covers("E77")
def test_an_alias_bomb_is_refused_at_once(raised: Raised) -> None:
    lines = ["x-0: &a0 [" + ", ".join(["lol"] * 9) + "]"]
    lines += [f"x-{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 10)]
    begun = time.process_time()

    (problem,) = raised(HEAD + "\n".join(lines))

    assert problem.code == "CONFIG_ALIAS_LIMIT"
    assert time.process_time() - begun < 1


@pytest.mark.covers("E90")
@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("hunter2", id="text"),
        pytest.param('"hunter2"', id="quoted text"),
        pytest.param("|\n      hunter2\n", id="block"),
        pytest.param('"${TOKEN:-hunter2}"', id="default"),
        pytest.param('"hunter2${TOKEN}"', id="text around a variable"),
        pytest.param('"${hunter2"', id="half a variable"),
        pytest.param("{value: hunter2}", id="unknown form"),
        pytest.param("{hunter2}", id="mapping by mistake"),
        pytest.param("[hunter2]", id="list"),
        pytest.param("{env: hunter2!}", id="secret as name"),
        pytest.param("{env: A, file: hunter2}", id="two forms"),
        pytest.param("{command: hunter2}", id="command as text"),
        pytest.param("{command: []}", id="no command"),
        pytest.param('{file: "hunter2\\0"}', id="path with NUL"),
        pytest.param("*hunter2", id="alias by mistake"),
        pytest.param("!hunter2 x", id="tag by mistake"),
        pytest.param("@hunter2", id="indicator by mistake"),
        pytest.param("{}", id="nothing"),
    ],
)
def test_a_literal_secret_is_refused_and_never_shown(raised: Raised, secret: str) -> None:
    text = f"{HEAD}registries:\n  r.example:\n    username: u\n    password: {secret}\n"

    problems = raised(text, {"TOKEN": "hunter2", "A": "hunter2"})

    assert problems
    assert all("hunter2" not in str(problem) + repr(problem) for problem in problems)


@pytest.mark.covers("E90")
def test_a_literal_secret_is_told_the_four_forms(raised: Raised) -> None:
    (problem,) = raised(registry("username: u, password: hunter2"))

    assert problem.code == "SECRET_LITERAL"
    for form in ("{env: NAME}", "{file: PATH}", "{command: [PROGRAM, ARGUMENT]}", '"${NAME}"'):
        assert form in problem.message


@pytest.mark.parametrize(
    ("rest", "key", "said"),
    [
        pytest.param("username: u", "username", "needs password", id="user alone"),
        pytest.param("password: {env: A}", "password", "needs username", id="password alone"),
        pytest.param("tls: {cert_file: a}", "tls.cert_file", "needs key_file", id="certificate alone"),
        pytest.param("tls: {key_file: a}", "tls.key_file", "needs cert_file", id="key alone"),
        pytest.param("plain_http: true, tls: {ca_file: a}", "tls", "exclude each other", id="TLS without TLS"),
        pytest.param("mirrors: [r.example]", "mirrors", "no mirror of itself", id="own mirror"),
    ],
)
def test_settings_of_a_registry_that_contradict_are_refused(raised: Raised, rest: str, key: str, said: str) -> None:
    (problem,) = raised(registry(rest))

    assert (problem.code, problem.key) == ("CONFIG_CONFLICT", f'registries["r.example"].{key}')
    assert said in problem.message


@pytest.mark.parametrize(
    ("source", "rest", "key", "said"),
    [
        pytest.param("nginx:1", "tags: {include: [v1]}", "tags", "by a tag; leave out tags", id="tag and tags"),
        pytest.param(f"nginx@sha256:{'0' * 64}", "tags: {include: [v1]}", "tags", "by a digest", id="digest and tags"),
        pytest.param("nginx", "repositories: {exclude: [a]}", "repositories", "no pattern", id="repositories"),
    ],
)
def test_filters_that_a_source_leaves_no_room_for_are_refused(
    raised: Raised, source: str, rest: str, key: str, said: str
) -> None:
    (problem,) = raised(f"{HEAD}rules:\n  - {{name: a, source: '{source}', targets: [r.example/a], {rest}}}\n")

    assert (problem.code, problem.key) == ("CONFIG_CONFLICT", f"rules[0].{key}")
    assert said in problem.message
