"""What labels may say, so that no registry, path or error can grow the number of time series without a bound."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from mirrord.oci.reference import LAYOUT_SCHEME
from mirrord.planning.rule import Rule
from mirrord.telemetry.catalog import METHODS, OTHER

MOST_OTHER_HOSTS: Final = 32
"""So many hosts get series besides those that rules name: mirrors, and the APIs beside registries."""

LAYOUT: Final = "oci"
"""The host of every OCI image layout directory: a path is no host."""

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Names:
    """The rules and hosts that may stand in labels; everything else is "other"."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.rules: frozenset[str] = frozenset()
        self.hosts: frozenset[str] = frozenset()
        self._others: set[str] = set()

    def know(self, rules: Sequence[Rule]) -> None:
        """Take the rules in force in place of those before."""
        self.rules = frozenset(rule.name for rule in rules)
        self.hosts = frozenset(host for rule in rules for host in hosts_of(rule))
        self._others -= self.hosts

    def rule(self, name: str) -> str:
        """Return the label of a rule."""
        return name if name in self.rules else OTHER

    def host(self, host: str) -> str:
        """Return the label of a registry."""
        label = host_label(host)
        if label in self.hosts or label in self._others:
            return label
        if label != OTHER and len(self._others) < MOST_OTHER_HOSTS:
            self._others.add(label)
            return label
        return OTHER


def host_label(host: str) -> str:
    """Return a host as it stands in a label: itself, one name for all layout directories, or "other" if it is none."""
    if host.startswith(LAYOUT_SCHEME):
        return LAYOUT
    return host if _HOST.fullmatch(host) else OTHER


def hosts_of(rule: Rule) -> Iterable[str]:
    """Return the labels of all registries that a rule reads and writes."""
    return {host_label(rule.source.host), *targets_of(rule)}


def targets_of(rule: Rule) -> set[str]:
    """Return the labels of the registries that a rule writes."""
    return {host_label(target.host) for target in rule.targets}


def one_of(value: str, known: Collection[str]) -> str:
    """Return a value that is on a list, else "other"."""
    return value if value in known else OTHER


def method_label(method: str) -> str:
    """Return the label of an HTTP method."""
    return one_of(method, METHODS)


def code_class(status: int) -> str:
    """Return the class of an HTTP status: ``2xx``; ``none`` where there was no answer."""
    return f"{status // 100}xx" if 200 <= status < 600 else "none" if status == 0 else OTHER  # noqa: PLR2004 - classes
