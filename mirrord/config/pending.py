"""Keys that the file may have already, but that this version does not act on: said aloud, lest anybody rely on them."""

from __future__ import annotations

from collections.abc import Iterator

from mirrord.config.finding import Finding, Path
from mirrord.config.rule_models import RuleOptions
from mirrord.planning.rule import OnRollback


def pending_of_rule(path: Path, options: RuleOptions) -> Iterator[Finding]:
    """Yield a warning for every guard of a rule that is not carried out yet."""
    if options.on_rollback is OnRollback.BLOCK:
        message = "this version does not remember digests: a tag that returns to an older one is copied all the same"
        yield _pending((*path, "on_rollback"), message)


def _pending(path: Path, message: str) -> Finding:
    return Finding(path, "NOT_YET_EFFECTIVE", message, is_warning=True)
