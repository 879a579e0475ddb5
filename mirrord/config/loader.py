"""A configuration file, read and checked whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from mirrord.config.checks import MAX_RULES, check_rules
from mirrord.config.fields import Reading
from mirrord.config.finding import Finding
from mirrord.config.models import Document
from mirrord.config.registries import check_registry, normalise_hosts, to_settings
from mirrord.config.registry_models import RegistrySection
from mirrord.config.rule_models import RuleOptions
from mirrord.config.rules import ReadRule, read_rule
from mirrord.config.source import MAX_BYTES, Source, parse
from mirrord.config.translate import problem_at, problems_of
from mirrord.config.tree import Items, Position, Table, locate
from mirrord.errors import ConfigError, ConfigProblem, quote
from mirrord.planning.rule import Rule
from mirrord.ports.settings import RegistrySettings

STANDARD_INPUT = "-"
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A valid configuration.

    Attributes:
        file: the file's name as it was given; ``<stdin>`` for standard input.
        directory: where relative paths of secrets and certificates begin: absolute.
        document: what the file says; its registries by normal host, without the rules that were left out.
        rules: what to mirror, for the planner.
        options: by rule name, all its options, those of ``defaults`` included: schedule, freshness, prune.
        registries: by host, for the registry adapter; hosts without an entry are not in it.
        warnings: what is allowed, but deserves a look; leniently, also the faults of the rules left out.
        places: by rule name, where the file says it: the place of its key ``name``.
    """

    file: str
    directory: str
    document: Document
    rules: tuple[Rule, ...]
    options: Mapping[str, RuleOptions]
    registries: Mapping[str, RegistrySettings]
    warnings: tuple[ConfigProblem, ...]
    places: Mapping[str, Position] = field(default_factory=dict)


def load_config(
    path: str, environment: Mapping[str, str], *, lenient: bool = False, stdin: BinaryIO | None = None
) -> Config:
    """Return the configuration of a file.

    Args:
        path: the file; ``-`` means standard input.
        environment: the variables that ``${NAME}`` may name.
        lenient: leave out rules with faults, and report these as warnings; other faults still raise.
        stdin: what ``-`` reads; None: the process's own.

    Raises:
        ConfigError: the file cannot be read or is not valid; it lists every problem.
    """
    file = "<stdin>" if path == STANDARD_INPUT else path
    directory = Path.cwd() if path == STANDARD_INPUT else Path(path).absolute().parent
    source = parse(_read(path, file, stdin), file)
    return _Loading(source, environment, str(directory)).finish(lenient=lenient)


class _Loading:
    """One load. A rule with faults of its own is set aside, so that the others are still checked together."""

    def __init__(self, source: Source, environment: Mapping[str, str], directory: str) -> None:
        self._source = source
        self._environment = environment
        self._directory = directory
        self._problems = list(source.problems)
        self._rule_problems: list[ConfigProblem] = []
        self._warnings: list[ConfigProblem] = []

    def finish(self, *, lenient: bool) -> Config:
        rules = self._source.root.get("rules")
        count = len(rules) if isinstance(rules, Items) else 0
        if count > MAX_RULES:
            message = f"there are {count:,} rules; at most {MAX_RULES:,} are allowed in one file"
            raise ConfigError([self._at(("rules",), message, "RULES_TOO_MANY")])
        document, indices = self._validate(range(count))
        read: list[ReadRule] = []
        registries: dict[str, RegistrySection] = {}
        if document is not None:
            registries = self._registries(document)
            read = [
                read_rule(index, section, document.options(section))
                for index, section in zip(indices, document.rules, strict=True)
            ]
            faulty = self._take(check_rules(read))
            read = [rule for rule in read if rule.index not in faulty]
        if document is None or self._problems or (self._rule_problems and not lenient):
            raise ConfigError(_in_order(self._problems + self._rule_problems))
        return Config(
            file=self._source.file,
            directory=self._directory,
            document=document.model_copy(
                update={"rules": tuple(rule.section for rule in read), "registries": registries}
            ),
            rules=tuple(rule.rule for rule in read),
            options={rule.rule.name: rule.options for rule in read},
            registries={host: to_settings(host, section, self._directory) for host, section in registries.items()},
            warnings=_in_order(self._warnings + self._rule_problems),
            places={rule.rule.name: locate(self._source.root, ("rules", rule.index, "name"))[0] for rule in read},
        )

    def _validate(self, indices: Iterable[int]) -> tuple[Document | None, list[int]]:
        """Return the document less its faulty rules, with the places of those left; None if it is not valid."""
        kept = list(indices)
        try:
            return Document.model_validate(self._source.root, context=Reading(self._environment)), kept
        except ValidationError as exc:
            faulty: set[int] = set()
            for path, problem in problems_of(exc, self._source.root, self._source.file):
                if path[:1] == ("rules",) and len(path) > 1 and isinstance(path[1], int):
                    faulty.add(path[1])
                    self._rule_problems.append(problem)
                else:
                    self._problems.append(problem)
        if self._problems:
            return None, []
        kept = [index for index in kept if index not in faulty]
        return Document.model_validate(self._without(faulty), context=Reading(self._environment)), kept

    def _without(self, faulty: set[int]) -> Table:
        root = self._source.root
        rules = root["rules"]
        assert isinstance(rules, Items)
        reduced = Table(root.position)
        for key, value in root.items():
            reduced.put(key, value, root.keys_at[key])
        reduced["rules"] = Items(rules.position, (rule for i, rule in enumerate(rules) if i not in faulty))
        return reduced

    def _registries(self, document: Document) -> dict[str, RegistrySection]:
        by_host, findings = normalise_hosts(document.registries, self._environment)
        self._take(findings)
        for host, (key, section) in by_host.items():
            self._take(check_registry(host, key, section, self._directory))
        return {host: section for host, (_, section) in by_host.items()}

    def _take(self, findings: Iterable[Finding]) -> set[int]:
        """File findings away; return the places of the rules that are at fault."""
        faulty: set[int] = set()
        for finding in findings:
            problem = self._at(finding.path, finding.message, finding.code)
            if finding.is_warning:
                self._warnings.append(problem)
            elif finding.path[0] == "rules" and isinstance(finding.path[1], int):
                faulty.add(finding.path[1])
                self._rule_problems.append(problem)
            else:
                self._problems.append(problem)
        return faulty

    def _at(self, path: tuple[str | int, ...], message: str, code: str) -> ConfigProblem:
        return problem_at(path, message, code, self._source.root, self._source.file)


def _in_order(problems: list[ConfigProblem]) -> tuple[ConfigProblem, ...]:
    """Return problems as they stand in the file; of very many, the first, and how many there are."""
    ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
    if len(ordered) <= MAX_PROBLEMS:
        return tuple(ordered)
    message = f"there are {len(ordered) - MAX_PROBLEMS:,} more problems"
    more = ConfigProblem(file=ordered[0].file, line=0, column=0, key="", message=message, code="CONFIG_INVALID")
    return (*ordered[:MAX_PROBLEMS], more)


def _read(path: str, file: str, stdin: BinaryIO | None) -> bytes:
    try:
        if path == STANDARD_INPUT:
            if stdin is None and sys.stdin is None:
                raise _unreadable(file, "standard input is closed; give a file, or redirect one to it")
            stream = stdin or sys.stdin.buffer
            if stream.isatty():
                raise _unreadable(file, "standard input is a terminal; give a file, or redirect one to it")
            return stream.read(MAX_BYTES + 1)
        with Path(path).open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "the path is not valid"
        raise _unreadable(quote(file), f"the file cannot be read: {reason}{_way_out(exc)}") from None


def _way_out(exc: Exception) -> str:
    """Return what to do where a container, or a service, shows its first user an error."""
    if isinstance(exc, FileNotFoundError):
        return (
            "; write it (in a container: mount it there), or name another with -c or MIRRORD_CONFIG, which may be "
            "empty for a command that needs none"
        )
    if isinstance(exc, PermissionError):
        return f"; let user {os.geteuid()} read it"
    return ""


def _unreadable(file: str, message: str) -> ConfigError:
    return ConfigError([ConfigProblem(file=file, line=0, column=0, key="", message=message, code="CONFIG_UNREADABLE")])
