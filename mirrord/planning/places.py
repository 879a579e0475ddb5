"""Where rules read and write."""

from __future__ import annotations

from collections.abc import Sequence

from mirrord.oci.reference import LAYOUT_SCHEME, LayoutDirectory
from mirrord.planning.rule import Rule


def hosts_of(rules: Sequence[Rule]) -> list[str]:
    """Return the registries that rules read and write, sorted; layout directories are none."""
    layouts = {rule.source.host for rule in rules if isinstance(rule.source.location, LayoutDirectory)}
    hosts = {rule.source.host for rule in rules} - layouts
    hosts |= {
        template.host for rule in rules for template in rule.targets if not template.text.startswith(LAYOUT_SCHEME)
    }
    return sorted(hosts)
