"""What `mirrord auth check` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from mirrord.cli.columns import columns
from mirrord.cli.runjson import problem_json
from mirrord.cli.units import count_text
from mirrord.errors import quote
from mirrord.planning.report import Problem
from mirrord.sync.access import RegistryAccess, RepositoryAccess, Right

_STYLES = {Right.YES: "green", Right.GRANTED: "green", Right.NO: "bold red", Right.UNKNOWN: "yellow"}
_THIS_COMMAND = "`mirrord auth check`"
_OWN_REMEDY = "check user name, password or token, whether it has ended, and what it may do there"
"""In place of the advice to run the command that is running."""

_SCHEMES = {"none": "asks for no credential", "basic": "Basic authentication", "bearer": "token authentication"}


def access_lines(found: Sequence[RegistryAccess]) -> list[Text]:
    """Return the report, registry by registry, and a sum."""
    lines: list[Text] = []
    for registry in found:
        lines += [*_registry(registry), Text()]
    problems = sum(len(registry.problems) for registry in found)
    registries = count_text(len(found), "registry", "registries")
    if not found:
        return [Text("no registry to check: the rules and registries name none")]
    if problems:
        return [*lines, Text(f"{registries}, {count_text(problems, 'problem')}", style="bold red")]
    return [*lines, Text(f"{registries}, all well", style="bold green")]


def access_json(found: Sequence[RegistryAccess], exit_code: int) -> dict[str, object]:
    """Return the report for JSON. It has no secrets."""
    return {
        "exit_code": exit_code,
        "registries": [
            {
                "registry": registry.host,
                "credential": {"origin": registry.origin, "username": registry.username} if registry.origin else None,
                "authentication": registry.scheme or None,
                "accepted": registry.accepted,
                "problem": _problem(registry.problem),
                "warnings": list(registry.warnings),
                "repositories": [_repository_json(repository) for repository in registry.repositories],
            }
            for registry in found
        ],
    }


def _repository_json(repository: RepositoryAccess) -> dict[str, object]:
    return {
        "repository": str(repository.repository),
        "role": "source" if repository.push is None else "target",
        "exists": repository.exists,
        "pull": repository.pull,
        "push": repository.push,
        "made_by_push": repository.made_by_push,
        "problem": _problem(repository.problem),
        "warnings": list(repository.warnings),
    }


def _problem(problem: Problem | None) -> object:
    return problem_json(problem) if problem is not None else None


def _registry(registry: RegistryAccess) -> list[Text]:
    lines = [Text(registry.host, style="bold"), Text.assemble(f"  credential: {_who(registry)}", _state(registry))]
    if registry.scheme:
        lines.append(Text(f"  the registry: {_SCHEMES.get(registry.scheme, registry.scheme)}"))
    lines += [_warning(warning) for warning in registry.warnings]
    if registry.problem is not None:
        lines += _problem_lines(registry.problem)
    rows = [_row(repository) for repository in registry.repositories]
    for repository, row in zip(registry.repositories, columns(rows, indent=2), strict=True):
        style = _STYLES[Right.NO] if repository.problem is not None else ""
        lines.append(Text(row, style=style))
        lines += [_warning(warning, indent=4) for warning in repository.warnings]
        if repository.problem is not None:
            lines += _problem_lines(repository.problem, indent=4)
    return lines


def _who(registry: RegistryAccess) -> str:
    if registry.origin:
        user = f'user "{quote(registry.username)}"' if registry.username else "a token"
        return f"{user}, from {quote(registry.origin)}"
    unreadable = registry.problem is not None and registry.accepted is Right.NO and not registry.scheme
    return "none that can be used" if unreadable else "none, anonymous"


def _state(registry: RegistryAccess) -> Text:
    if registry.accepted is Right.YES and registry.origin and registry.scheme != "none":
        return Text.assemble(", ", ("accepted", "green"))
    if registry.accepted is Right.NO and registry.origin:
        return Text.assemble(", ", ("not accepted", _STYLES[Right.NO]))
    return Text()


def _row(repository: RepositoryAccess) -> tuple[str, ...]:
    if repository.push is None:
        return repository.repository.path, "source", f"pull: {repository.pull}"
    is_open = repository.problem is None and not repository.made_by_push
    pushing = {Right.GRANTED: "granted by the token", Right.UNKNOWN: f"not tried{' (--push does)' if is_open else ''}"}
    push = pushing.get(repository.push, str(repository.push))
    made = "; the first push makes it" if repository.made_by_push else ""
    new = "" if repository.exists else f"does not exist yet{made}"
    return repository.repository.path, "target", f"pull: {repository.pull}", f"push: {push}", new


def _warning(warning: str, indent: int = 2) -> Text:
    return Text.assemble(" " * indent, ("warning", "yellow"), f": {warning}")


def _problem_lines(problem: Problem, indent: int = 2) -> list[Text]:
    space = " " * indent
    lines = [Text.assemble(space, (problem.code, "red"), f": {problem.message}")]
    remedy = _OWN_REMEDY if _THIS_COMMAND in problem.remedy else problem.remedy
    if remedy:
        lines.append(Text.assemble(space, ("remedy", "cyan"), f": {remedy}"))
    return lines
