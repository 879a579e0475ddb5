"""Which rules of a configuration a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from mirrord.errors import UsageError, quote

if TYPE_CHECKING:
    from mirrord.planning.rule import Rule

_SHOWN = 20


def select_rules(rules: Sequence[Rule], wanted: Sequence[str] | None) -> list[Rule]:
    """Return the rules of the names that were given, in the order of the file; all of them where none was.

    A name may be a pattern: ``team-*``.

    Raises:
        UsageError: a name is none of a rule, or a pattern matches none (RULE_NOT_FOUND).
    """
    if not wanted:
        return list(rules)
    names = [rule.name for rule in rules]
    for name in wanted:
        if not any(_matches(known, name) for known in names):
            raise _not_found(name, names)
    return [rule for rule in rules if any(_matches(rule.name, name) for name in wanted)]


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or fnmatchcase(name, wanted)


def _not_found(wanted: str, names: Sequence[str]) -> UsageError:
    near = get_close_matches(wanted, names, n=1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    known = f"the rules are: {shown}{more}" if names else "the configuration has no rules"
    return UsageError(f'no rule is called "{quote(wanted)}"{hint}', code="RULE_NOT_FOUND", remedy=known)
