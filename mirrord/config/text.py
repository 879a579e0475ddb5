"""Values to the text of a configuration file."""

from __future__ import annotations

from collections.abc import Mapping

import yaml


def yaml_text(values: Mapping[str, object]) -> str:
    """Return values as YAML, in their order; text that YAML would take for a number or a date is quoted."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, default_flow_style=False, width=1000)
