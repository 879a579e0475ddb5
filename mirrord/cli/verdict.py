"""The exit code of a run."""

from __future__ import annotations

from collections.abc import Sequence

from mirrord.planning.report import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_STARTUP,
    Outcome,
    Problem,
    RuleReport,
    exit_code,
)

EXIT_CHANGES = 2
"""What `plan --detailed-exitcode` returns when there is something to do."""

_UNUSABLE_PREFIXES = ("SECRET_", "CREDENTIAL_", "HELPER_", "PROXY_", "AUTH_", "TOKEN_")
_UNUSABLE = frozenset(
    {
        "CA_BUNDLE_INVALID",
        "CLIENT_CERTIFICATE_INVALID",
        "DOCKER_CONFIG_INVALID",
        "ENV_UNSET",
        "NAME_NOT_RESOLVED",
        "PLAIN_HTTP_NOT_ALLOWED",
        "STARTUP",
        "TLS_FAILED",
        "BREAKER_OPEN",
        "UNAVAILABLE",
    }
)


def run_exit_code(rules: Sequence[RuleReport], *, changes: int = 0) -> int:
    """Return the exit code of a run that came to its end; of a dry run, which would have made ``changes``.

    3, "could not start", is for a run in which no registry could be used at all: no rule learnt anything of its
    source, and the cause was always a registry that cannot be reached or does not let us in. As soon as one image was
    resolved, or one registry answered that something does not exist, the run did run, and its failures are 1.
    """
    unusable = not changes and bool(rules) and all(map(_could_not_start, rules))
    return EXIT_STARTUP if unusable else exit_code(rules)


def plan_exit_code(rules: Sequence[RuleReport], changes: int, *, detailed: bool) -> int:
    """Return the exit code of a plan: what a policy would block is told, and is no failure of the plan.

    ``detailed``: 0 no change, 2 changes, 1 error, as terraform has it.
    """
    code = run_exit_code(rules, changes=changes)
    if code == EXIT_REFUSED:
        code = EXIT_OK
    if not detailed:
        return code
    if code != EXIT_OK:
        return EXIT_FAILED
    return EXIT_CHANGES if changes else EXIT_OK


def _could_not_start(rule: RuleReport) -> bool:
    failed = [result.problem for result in rule.results if result.outcome is Outcome.FAILED]
    problems = [*rule.problems, *failed]
    learnt = len(failed) < len(rule.results) or any(result.digest is not None for result in rule.results)
    return bool(problems) and not learnt and all(map(_is_unusable, problems))


def _is_unusable(problem: Problem | None) -> bool:
    return problem is not None and (problem.code in _UNUSABLE or problem.code.startswith(_UNUSABLE_PREFIXES))
