"""The documentation holds what it says: links lead somewhere, commands and keys exist, tables are complete."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mirrord.cli.main import make_app
from mirrord.config.loader import load_config
from mirrord.config.registry_models import PROVIDERS
from mirrord.config.schema import json_schema
from tests.conftest import ROW
from tests.traps.table import BULK_NUMBERS, NUMBERS, PROGRAMS, TRAPS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench/README.md"])
EXAMPLES = ROOT / "config.example.yaml"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BESIDE = re.compile(r"`([\w-]+\.json)`, beside it.*?^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""Files that a configuration names, and that the page shows too."""
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
ROWS = re.compile(r"([ACDE])(\d+)(?:-[ACDE](\d+))?")
SECTIONS = (
    "Credentials",
    "Creating repositories",
    "Listing",
    "Deleting",
    "Limits and quotas",
    "Signatures and SBOMs",
    "What is not possible",
)
"""Of every page on a registry, in this order."""

PLANNED = ("apply", "audit", "prune", "restore", "config import")
"""Commands that pages may name as planned."""
NO_CODES = frozenset(
    {
        # Variables of the environment.
        *("DOCKER_CONFIG", "DOCKERHUB_TOKEN", "FORCE_COLOR", "MIRRORD_CONFIG", "MIRRORD_LOG_LEVEL", "NO_COLOR"),
        *("MIRRORD_API_TOKEN_FILE", "MIRRORD_DRAIN_TIMEOUT", "MIRRORD_LISTEN", "MIRRORD_LOG_FORMAT", "MIRRORD_STATE"),
        *("REGISTRY_AUTH_FILE", "SSL_CERT_DIR", "SSL_CERT_FILE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
        *("MIRRORD_PUSHGATEWAY_PASSWORD_FILE", "MIRRORD_PUSHGATEWAY_USERNAME"),
        *("GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_TOKEN", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"),
        *("AZURE_AUTHORITY_HOST", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"),
        *("AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_TENANT_ID", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
        *("CLOUDSDK_CONFIG", "GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK"),
        "CODE",  # stands for any code
        "RELOAD_REJECTED",  # begins the text that tells why a file was refused, and is no error's code
        # Names of Python.
        *("EXIT_FAILED", "EXIT_REFUSED", "EXIT_STARTUP", "EXIT_USAGE", "SIGNAL_BASE"),
        # Codes of registries, which messages quote.
        *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DANGLING_TAG", "MANIFEST_UNKNOWN"),
        *("NAME_UNKNOWN", "TAG_ALREADY_EXISTS"),
        *("GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", "GOOGLE_MANIFEST_DANGLING_TAG"),
        "GOOGLE_MANIFEST_REFERRING_MANIFEST",
        # Completed with _EMPTY, _TOO_LARGE and _BINARY.
        *("SECRET_COMMAND", "SECRET_FILE"),
    }
)
SUFFIXED = {f"{stem}_{end}" for stem in ("SECRET_COMMAND", "SECRET_FILE") for end in ("EMPTY", "TOO_LARGE", "BINARY")}


def page_id(page: Path) -> str:
    """Return the page as it stands in the test's name."""
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


@each_page
def test_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert not broken


@each_page
def test_page_holds_no_marks_of_a_merge(page: Path) -> None:
    """Tables around such marks still have links that lead somewhere, so no other test sees them."""
    marks = re.findall(r"^(?:<{7} |={7}$|>{7} ).*", page.read_text("utf-8"), re.MULTILINE)

    assert not marks


@each_page
def test_page_is_reached_from_the_readme(page: Path) -> None:
    """A page that nothing links to is read by nobody."""
    assert page in reachable(ROOT / "README.md")


@each_page
def test_commands_that_a_page_shows_exist(page: Path) -> None:
    wrong = [f"{' '.join(words)}: {fault}" for words in shown_commands(page) if (fault := fault_of(words))]

    assert not wrong


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page, text, id=f"{page_id(page)}-{number}")
        for page in PAGES
        for number, (language, text) in enumerate(FENCE.findall(page.read_text("utf-8")))
        if language == "yaml"
    ],
)
def test_configuration_that_a_page_shows_is_valid(page: Path, text: str, tmp_path: Path) -> None:
    file = tmp_path / "mirrord.yaml"
    file.write_text(text, "utf-8")
    for name, content in BESIDE.findall(page.read_text("utf-8")):
        (tmp_path / name).write_text(content, "utf-8")

    load_config(str(file), {})


def test_configuration_of_the_example_file_is_valid() -> None:
    load_config(str(EXAMPLES), {})


def test_example_file_shows_every_key() -> None:
    """Keys of secrets among them; `true` and `false` stand for `enabled`."""
    text = EXAMPLES.read_text("utf-8")

    assert sorted(key for key in schema_keys(json_schema()) if not re.search(rf"\b{key}:", text)) == ["enabled"]


def test_reference_of_the_command_line_is_that_of_the_commands() -> None:
    """`make docs` writes it anew."""
    text = runpy.run_path(str(ROOT / "scripts/cli_reference.py"))["reference_text"]()

    assert (ROOT / "docs/reference/cli.md").read_text("utf-8") == text


def test_reference_of_the_command_line_has_every_command_and_option() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    sections = dict(re.findall(r"^## `mirrord ([^`]+)`$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))

    assert sorted(sections) == sorted(commands())
    for name, command in commands().items():
        missing = [option for option in options_of(command) if f"`{option}`" not in sections[name]]
        assert not missing, name


def test_readme_names_every_command_and_how_to_see_and_test_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8")

    for name in commands():
        assert f"mirrord {name}" in text or f"`{name}`" in text, name
    assert "make demo" in text
    assert "make test" in text


def test_targets_of_make_that_pages_name_exist() -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    for page in PAGES:
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert named <= known, page


def test_page_of_error_codes_has_every_code_of_the_source() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    listed = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))

    assert sorted(source_codes() - listed) == []


def test_page_of_error_codes_has_no_code_that_is_gone() -> None:
    text = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    listed = {code for code in INLINE_CODE.findall(text) if CODE.fullmatch(code)}

    assert sorted(listed - source_codes() - NO_CODES) == []


def test_error_codes_that_pages_show_exist() -> None:
    known = source_codes()
    for page in PAGES:
        text = page.read_text("utf-8")
        shown = set(re.findall(r"(?:^ +|error: )([A-Z][A-Z0-9_]+): ", text, re.MULTILINE))
        assert sorted(shown - known - NO_CODES) == [], page


def test_page_of_reliability_lists_as_proven_what_tests_cover() -> None:
    """A row that a test has come to cover moves from the last table to the one of its kind."""
    proven, _ = reliability_rows()

    assert sorted(covered_rows() - set(proven), key=row_order) == []


def test_page_of_reliability_claims_no_row_that_no_test_covers() -> None:
    proven, _ = reliability_rows()

    assert sorted(set(proven) - covered_rows(), key=row_order) == []


def test_page_of_reliability_has_every_row_once() -> None:
    proven, unproven = reliability_rows()
    last = {"A": 54, "C": 50, "D": 100, "E": 151}
    every = [f"{letter}{number}" for letter, count in last.items() for number in range(1, count + 1)]

    assert sorted([*proven, *unproven], key=row_order) == sorted(every, key=row_order)


def test_page_of_traps_says_which_registries_and_programs_show_each() -> None:
    """The page follows the table by which tests are named."""
    text = (ROOT / "docs/reference/traps.md").read_text("utf-8").partition("## Digests of many")[0]
    told = {
        int(number): sorted(re.sub(r"[*]", "", name) for name in names.split(", "))
        for number, names in re.findall(r"^\| (\d+) \| .* \| ([^|]*) \|$", text, re.MULTILINE)
    }
    tables = {**TRAPS, **PROGRAMS}

    assert told == {n: sorted(name for name, numbers in tables.items() if n in numbers) for n in NUMBERS}


def test_page_of_traps_has_every_rule_of_listings_with_digests() -> None:
    text = (ROOT / "docs/reference/traps.md").read_text("utf-8").partition("## Digests of many")[2]

    assert {int(number) for number in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == BULK_NUMBERS


@pytest.mark.parametrize("page", sorted((ROOT / "docs/registries").glob("[a-z]*.md")), ids=page_id)
def test_page_of_a_registry_has_the_sections_of_all(page: Path) -> None:
    """Whoever knows one page finds things on the others; further sections may stand between."""
    headings = re.findall(r"^## (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)

    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


def test_table_of_registries_names_every_provider_and_its_page() -> None:
    text = (ROOT / "docs/registries/README.md").read_text("utf-8")
    rows = re.findall(r"^\| .*\((\w+)\.md\).* \| `(\w+)` \|", text, re.MULTILINE)

    assert {name for _, name in rows} == set(PROVIDERS)
    assert {f"{page}.md" for page, _ in rows} == {page.name for page in (ROOT / "docs/registries").glob("[a-z]*.md")}


def test_exit_codes_of_the_readme_are_those_of_the_reference() -> None:
    tables = []
    for file in (ROOT / "README.md", ROOT / "docs/reference/output.md"):
        section = file.read_text("utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
        tables.append(re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE))

    assert tables[0] == tables[1]


def schema_keys(part: object) -> set[str]:
    """Return the names of all keys in a JSON Schema."""
    if isinstance(part, list):
        return set().union(*map(schema_keys, part))
    if not isinstance(part, dict):
        return set()
    properties = part.get("properties")
    own = set(properties) if isinstance(properties, dict) else set()
    return own.union(*(schema_keys(value) for value in part.values()))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    if page.suffix != ".md":
        return frozenset()
    text = FENCE.sub("", page.read_text("utf-8"))
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text))


@cache
def reachable(start: Path) -> frozenset[Path]:
    """Return the pages that links lead to from ``start``, itself among them."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md" or not page.exists():
            continue
        found.add(page)
        links = LINK.findall(page.read_text("utf-8"))
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links if ":" not in link]
    return frozenset(found)


@cache
def commands() -> dict[str, Any]:
    """Return the commands by their words, `config show` for instance."""

    def walk(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*words, name))
            else:
                yield " ".join((*words, name)), command

    return dict(walk(typer.main.get_command(make_app()), ()))


def options_of(command: Any) -> list[str]:
    """Return the options of a command, long and short."""
    options = [option for option in command.params if option.param_type_name == "option"]
    return [name for option in options for name in option.opts]


def shown_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `mirrord` of every command that a page shows, in blocks and in text."""
    text = page.read_text("utf-8")
    lines = [line for language, block in FENCE.findall(text) if language for line in block.splitlines()]
    shown = [match[1] for line in lines if (match := re.match(r"(?:\$ |\s+\$ |- run: |  )?mirrord (.+)", line))]
    shown += [code.removeprefix("mirrord ") for code in INLINE_CODE.findall(FENCE.sub("", text)) if is_command(code)]
    for command in shown:
        yield shlex.split(command.partition(" > ")[0].partition(" | ")[0], comments=True)


def is_command(code: str) -> bool:
    """Say whether inline code is a command that can be checked."""
    return code.startswith("mirrord ") and not any(sign in code for sign in "[<{")


def fault_of(words: list[str]) -> str:
    """Return what is wrong with a command, or nothing."""
    text = " ".join(words)
    if words[0].startswith("-") or words[0].isupper() or text.startswith(PLANNED):
        return ""
    two = " ".join(words[:2])
    if two not in commands() and words[0] not in commands():
        groups = {name.partition(" ")[0] for name in commands() if " " in name}
        return "" if words[0] in groups and len(words) == 1 else "there is no such command"
    known = [*options_of(commands()[two if two in commands() else words[0]]), "--help"]
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"there is no option {', '.join(unknown)}" if unknown else ""


@cache
def source_codes() -> frozenset[str]:
    """Return every code that the source may give to an error or a warning."""
    found = set(SUFFIXED)
    for file in (ROOT / "mirrord").rglob("*.py"):
        if "demo" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.add(node.value)
            found.update(explicit_codes(node))
    return frozenset(found - NO_CODES)


def explicit_codes(node: ast.AST) -> Iterator[str]:
    """Yield what stands as `code=` or `default_code =`, codes of one word among them."""
    value: ast.expr | None = None
    if isinstance(node, ast.keyword) and node.arg == "code":
        value = node.value
    elif isinstance(node, ast.AnnAssign | ast.Assign):
        names = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = node.value if any(isinstance(name, ast.Name) and name.id == "default_code" for name in names) else None
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value


@cache
def covered_rows() -> frozenset[str]:
    """Return the rows that tests name, in `covers` marks and in the ids of their parameters."""
    found = set()
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                match = ROW.fullmatch(node.value)
                if match is not None and match[1][0] in "ACDE":
                    found.add(match[1])
    return frozenset(found)


def reliability_rows() -> tuple[list[str], list[str]]:
    """Return the rows that the page of reliability lists as proven, and as not proven."""
    text = (ROOT / "docs/reference/reliability.md").read_text("utf-8")
    proven, _, unproven = text.partition("\n## Not proven")
    return rows_of(proven), rows_of(unproven)


def rows_of(text: str) -> list[str]:
    """Return the rows in the first columns of tables; A1-A3 stands for three."""
    rows = []
    for cell in re.findall(r"^\| ([ACDE]\d[^|]*) \|", text, re.MULTILINE):
        for part in cell.split(", "):
            match = ROWS.fullmatch(part)
            assert match is not None, f"{part!r} is no row"
            letter, first, last = match.groups()
            rows += [f"{letter}{number}" for number in range(int(first), int(last or first) + 1)]
    return rows


def row_order(row: str) -> tuple[str, int]:
    """Return what sorts rows by kind and number."""
    return row[0], int(row[1:])
