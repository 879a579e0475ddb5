"""Policies of JSON that stand in the configuration file, or in a file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from mirrord.errors import quote

SHORTEST_POLICY: Final = 100
LARGEST_POLICY: Final = 30_720
"""Characters. Source: AWS API_PutLifecyclePolicy, ``lifecyclePolicyText``."""


def read_policy(text: str, directory: str) -> str:
    """Return the JSON of a policy: ``text`` itself if it is an object, else what stands in the file that it names.

    Args:
        text: as the configuration has it.
        directory: where a relative path begins.

    Raises:
        ValueError: the file cannot be read, or it is no JSON object of 100 to 30,720 characters.
    """
    what = "the policy"
    if not text.lstrip().startswith("{"):
        path = Path(directory, text)
        what = quote(str(path))
        try:
            with path.open("rb") as file:
                text = file.read(4 * LARGEST_POLICY + 1).decode()
        except UnicodeDecodeError:
            raise ValueError(f"{what} is no UTF-8") from None
        except (OSError, ValueError) as exc:
            raise ValueError(f"{what} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(text) > LARGEST_POLICY:
        raise ValueError(f"{what} is longer than {LARGEST_POLICY:,} characters")
    if len(text) < SHORTEST_POLICY:
        raise ValueError(f"{what} is shorter than {SHORTEST_POLICY} characters, and so no policy")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{what} is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object")  # noqa: TRY004 - all faults of a policy are one kind
    return text
