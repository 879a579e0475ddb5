"""What a check found, before it is placed in the file."""

from __future__ import annotations

from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault, or with ``is_warning`` a risk, of the value that ``path`` leads to."""

    path: Path
    code: str
    message: str
    is_warning: bool = False
