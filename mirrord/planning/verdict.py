"""The first sentence of the status page: whether all is well and, if not, what is the matter, why and until when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from mirrord.planning.memory import ImageState
from mirrord.planning.rulestate import severity
from mirrord.planning.status import ConfigStatus, Level, RuleState, RuleStatus, Verdict
from mirrord.planning.words import count_text, moment_text, registry_text, shorten, span_text

MOST_DETAILS = 3
"""So many rules are told of; the rest is counted."""

_ALL = {1: "The mirror is fresh", 2: "Both mirrors are fresh"}
_LONGEST_CAUSE = 200
_LONGEST_ERROR = 300
_QUOTAS = {"QUOTA_EXHAUSTED": "is spent", "QUOTA_RESERVED": "is down to what is kept back"}
"""Errors that end by themselves, and need no more than a few words."""

_IN_NEED = frozenset({RuleState.FAILED, RuleState.STALLED})
"""States that last until a person does something; without a promise they are what breaks the one that stands unsaid."""


def judge(
    rules: Sequence[RuleStatus],
    *,
    config: ConfigStatus,
    state_error: str | None,
    now: datetime,
    draining: bool = False,
) -> Verdict:
    """Return how all stands in a sentence, with details of what is not well, the worst first.

    Troubles of the whole service come before those of rules. Of these `MOST_DETAILS` are told, and how many more there
    are.

    Args:
        rules: how each rule stands.
        config: the configuration in force, and whether its file was refused since.
        state_error: why the state store cannot be used; None: it can.
        now: the moment of the verdict, in UTC.
        draining: whether the service is about to end.
    """
    broken = sorted((rule for rule in rules if _is_broken(rule)), key=_worst_first)
    imperfect = sorted((rule for rule in rules if not _is_broken(rule) and _is_imperfect(rule)), key=_worst_first)
    troubles = tuple(_troubles(config, state_error, is_empty=not rules, now=now, draining=draining))
    new = [rule for rule in rules if rule.state is RuleState.NEW]
    waiting = _first_runs(new, len(rules), now)
    return Verdict(
        level=_level(broken, is_perfect=not (imperfect or troubles or new) and bool(rules)),
        headline=_headline(rules, new, config, state_error, draining=draining),
        details=(*troubles, *_bounded([_rule_text(rule, now) for rule in (*broken, *imperfect)]), *waiting),
    )


def _is_broken(rule: RuleStatus) -> bool:
    """Whether a promise does not hold: its own or, where it made none, that nothing of it needs a person."""
    return not rule.is_fresh and (rule.objective_seconds is not None or rule.state in _IN_NEED)


def _is_imperfect(rule: RuleStatus) -> bool:
    """Whether something of a rule is worth a word, though no promise is broken.

    A change that is on its way within its promise is what a mirror does all day.
    """
    on_its_way = rule.state in {RuleState.NEW, RuleState.IN_SYNC, RuleState.OUT_OF_SYNC}
    return not rule.is_fresh or not on_its_way


def _worst_first(rule: RuleStatus) -> tuple[int, float, str]:
    return severity(rule.state), -_overdue(rule), rule.name


def _overdue(rule: RuleStatus) -> float:
    return rule.freshness_seconds - (rule.objective_seconds or 0.0)


def _level(broken: Sequence[RuleStatus], *, is_perfect: bool) -> Level:
    if broken:
        return Level.BAD
    return Level.OK if is_perfect else Level.NOTICE


def _headline(
    rules: Sequence[RuleStatus],
    new: Sequence[RuleStatus],
    config: ConfigStatus,
    state_error: str | None,
    *,
    draining: bool,
) -> str:
    fresh = sum(rule.is_fresh and rule.state is not RuleState.NEW for rule in rules)
    if not rules:
        text = "No rules yet"
    elif len(new) == len(rules):
        text = f"{count_text(len(rules), 'mirror')} {_verb(len(rules), 'waits', 'wait')} for the first run"
    elif fresh == len(rules):
        text = _ALL.get(len(rules), f"All {len(rules):,} mirrors are fresh")
    elif len(rules) == 1:
        text = "The mirror is not fresh"
    else:
        text = f"{fresh:,} of {len(rules):,} mirrors {_verb(fresh, 'is', 'are')} fresh"
    if draining:
        return f"Stopping: {text[0].lower()}{text[1:]}"
    ill = _ill(config, state_error)
    # What is well with the mirrors must not hide that the service is not, nor the other way round.
    return f"{text}, {'but' if fresh == len(rules) else 'and'} {ill}" if ill else text


def _ill(config: ConfigStatus, state_error: str | None) -> str:
    if state_error is not None:
        return "the state store cannot be used"
    return "the configuration file was refused" if config.error is not None else ""


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _troubles(
    config: ConfigStatus, state_error: str | None, *, is_empty: bool, now: datetime, draining: bool
) -> Iterator[str]:
    if draining:
        yield "mirrord is stopping: what is on its way is finished, and no run begins any more."
    if state_error is not None:
        cause = _sentence(state_error, _LONGEST_ERROR)
        yield f"The state store cannot be used: {cause} Mirroring goes on, but history is not kept."
    if config.error is not None:
        loaded = moment_text(config.loaded_at, now)
        cause = _sentence(config.error, _LONGEST_ERROR)
        yield f"The configuration file was refused: {cause} The one loaded at {loaded} is in force."
    elif is_empty:
        advice = "add a rule with a source and targets, and the file is read again"
        yield f"{config.file} has none: {advice}."


def _first_runs(new: Sequence[RuleStatus], count: int, now: datetime) -> Iterator[str]:
    """Yield what is to be said of rules that never ran; their number stands in the headline if it is all of them."""
    if not new:
        return
    moments = [rule.next_run for rule in new if rule.next_run is not None]
    if any(rule.running is not None or rule.queued for rule in new):
        when = "a first run is under way"
    elif moments:
        when = f"the next begins at {moment_text(min(moments), now)}"
    else:
        when = f"{_verb(len(new), 'it runs', 'they run')} when asked to, for there is no schedule"
    if len(new) == count:
        yield f"{when[0].upper()}{when[1:]}."
    else:
        yield f"{count_text(len(new), 'mirror')} {_verb(len(new), 'waits', 'wait')} for the first run: {when}."


def _bounded(texts: Sequence[str]) -> Sequence[str]:
    more = len(texts) - MOST_DETAILS
    return (*texts[:MOST_DETAILS], f"and {more:,} more") if more > 0 else texts


def _rule_text(rule: RuleStatus, now: datetime) -> str:
    cause = _cause(rule, now)
    return _sentence(f"{rule.name} {_lag(rule)}{': ' if cause else ''}{cause}", len(rule.name) + _LONGEST_CAUSE + 80)


def _lag(rule: RuleStatus) -> str:
    promise = rule.objective_seconds
    if promise is not None and _overdue(rule) > 0:
        return f"is {span_text(_overdue(rule))} behind its promise of {span_text(promise)}"
    if promise is not None and not rule.is_fresh:
        return f"has not seen its source for longer than its promise of {span_text(promise)}"
    if promise is not None and rule.freshness_seconds > 0:
        return f"is {span_text(rule.freshness_seconds)} behind, within its promise of {span_text(promise)}"
    if promise is not None:
        return "keeps its promise, but needs a look"
    if rule.freshness_seconds > 0:
        return f"is {span_text(rule.freshness_seconds)} behind"
    return "has failed" if rule.state is RuleState.FAILED else "is not all in sync"


def _cause(rule: RuleStatus, now: datetime) -> str:
    """Return why a rule stands as it does and until when; empty: nothing is known but the state itself."""
    until = f" until {moment_text(rule.waiting_until, now)}" if rule.waiting_until and rule.waiting_until > now else ""
    if rule.problem is not None and rule.problem.code in _QUOTAS:
        return f"{registry_text(rule.source_host)} quota {_QUOTAS[rule.problem.code]}{until}"
    if rule.problem is not None:
        return shorten(rule.problem.message, _LONGEST_CAUSE).rstrip(".") + (f"; it waits{until}" if until else "")
    if rule.state is RuleState.WAITING:
        return f"it waits{until}"
    if rule.state is RuleState.BLOCKED:
        return f"a policy of the rule keeps {count_text(rule.images.get(ImageState.BLOCKED, 0), 'image')} back"
    return _outlook(rule, now)


def _outlook(rule: RuleStatus, now: datetime) -> str:
    if rule.running is not None:
        return "a run is under way"
    return f"the next run begins at {moment_text(rule.next_run, now)}" if rule.next_run is not None else ""


def _sentence(text: str, length: int) -> str:
    line = shorten(text, length)
    return line if line.endswith((".", "…", "!", "?")) else f"{line}."
