"""The first sentence of the status page, and what stands below it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.planning.memory import ImageState
from mirrord.planning.status import ConfigStatus, Level, ProblemStatus, Progress, RuleState, RuleStatus, Verdict
from mirrord.planning.verdict import judge

NOW = datetime(2026, 3, 5, 13, 44, tzinfo=UTC)
CONFIG = ConfigStatus(file="mirrord.yaml", loaded_at=datetime(2026, 3, 5, 9, 12, tzinfo=UTC), rules=1)
REFUSED = replace(CONFIG, error="mirrord.yaml:9:5: rules[0].shedule: unknown key", error_at=NOW)
SPENT = ProblemStatus(code="QUOTA_EXHAUSTED", message="docker.io: 0 of 200 pulls in 6 h are left", remedy="log in")
BROKEN = ProblemStatus(code="UNAVAILABLE", message="registry.internal: connection refused.")


def rule(name: str = "nginx", state: RuleState = RuleState.IN_SYNC, **values: object) -> RuleStatus:
    """Build a rule that promised an hour; ``behind`` is in seconds."""
    base = RuleStatus(
        name=name,
        source=f"docker.io/library/{name}",
        source_host="docker.io",
        state=state,
        objective_seconds=3600.0,
    )
    return replace(base, **values)  # type: ignore[arg-type] # a builder names the fields it sets


def behind(name: str, hours: float, **values: object) -> RuleStatus:
    """Build a rule that broke its promise of an hour."""
    found = {"state": RuleState.OUT_OF_SYNC, "is_fresh": False, "freshness_seconds": hours * 3600, **values}
    return rule(name, **found)  # type: ignore[arg-type] # the same


def verdict(
    *rules: RuleStatus, config: ConfigStatus = CONFIG, state_error: str | None = None, draining: bool = False
) -> Verdict:
    return judge(rules, config=config, state_error=state_error, now=NOW, draining=draining)


def test_all_is_well_in_one_sentence() -> None:
    found = verdict(*[rule(f"r{number}") for number in range(12)])

    assert found == Verdict(level=Level.OK, headline="All 12 mirrors are fresh")


def test_one_mirror_alone_is_called_the_mirror() -> None:
    assert verdict(rule()).headline == "The mirror is fresh"
    assert verdict(behind("nginx", 2)).headline == "The mirror is not fresh"


def test_change_on_its_way_within_the_promise_is_no_news() -> None:
    """A mirror that copies is what it is there for."""
    copying = rule(state=RuleState.OUT_OF_SYNC, freshness_seconds=240.0)

    assert verdict(copying).level is Level.OK


def test_broken_promise_is_told_with_cause_and_end() -> None:
    python = behind(
        "python",
        3 + 1 / 6,
        state=RuleState.WAITING,
        problem=SPENT,
        waiting_until=datetime(2026, 3, 5, 14, 32, tzinfo=UTC),
    )

    found = verdict(*[rule(f"r{number}") for number in range(11)], python)

    assert found.level is Level.BAD
    assert found.headline == "11 of 12 mirrors are fresh"
    assert found.details == (
        "python is 2 h 10 min behind its promise of 1 h: Docker Hub quota is spent until 14:32 UTC.",
    )


def test_moment_that_has_passed_is_not_told_as_the_end() -> None:
    python = behind("python", 2, problem=SPENT, waiting_until=NOW - timedelta(minutes=1))

    assert verdict(python).details == ("python is 1 h behind its promise of 1 h: Docker Hub quota is spent.",)


NEXT = datetime(2026, 3, 5, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        pytest.param(
            {"problem": replace(SPENT, code="QUOTA_RESERVED")},
            "Docker Hub quota is down to what is kept back",
            id="reserve",
        ),
        pytest.param({"problem": BROKEN}, "registry.internal: connection refused", id="problem"),
        pytest.param(
            {"problem": BROKEN, "waiting_until": NEXT},
            "registry.internal: connection refused; it waits until 14:00 UTC",
            id="problem-and-wait",
        ),
        pytest.param({"state": RuleState.WAITING}, "it waits", id="wait"),
        pytest.param({"state": RuleState.WAITING, "waiting_until": NEXT}, "it waits until 14:00 UTC", id="wait-until"),
        pytest.param(
            {"state": RuleState.BLOCKED, "images": {ImageState.BLOCKED: 2}},
            "a policy of the rule keeps 2 images back",
            id="blocked",
        ),
        pytest.param({"running": Progress(run="1", started=NOW)}, "a run is under way", id="running"),
        pytest.param({"next_run": NEXT}, "the next run begins at 14:00 UTC", id="next"),
    ],
)
def test_cause_is_the_best_that_is_known(values: dict[str, object], cause: str) -> None:
    assert verdict(behind("python", 2, **values)).details == (f"python is 1 h behind its promise of 1 h: {cause}.",)


def test_rule_of_which_nothing_is_known_is_told_without_a_cause() -> None:
    assert verdict(behind("python", 2)).details == ("python is 1 h behind its promise of 1 h.",)


@pytest.mark.parametrize(
    ("values", "level", "text"),
    [
        pytest.param(
            {"state": RuleState.FAILED, "is_fresh": False},
            Level.BAD,
            "nginx has not seen its source for longer than its promise of 1 h.",
            id="blind",
        ),
        pytest.param(
            {"state": RuleState.WAITING, "freshness_seconds": 720.0},
            Level.NOTICE,
            "nginx is 12 min behind, within its promise of 1 h: it waits.",
            id="within-promise",
        ),
        pytest.param(
            {"state": RuleState.FAILED},
            Level.NOTICE,
            "nginx keeps its promise, but needs a look.",
            id="failed-within-promise",
        ),
        pytest.param(
            {"state": RuleState.OUT_OF_SYNC, "objective_seconds": None, "is_fresh": False, "freshness_seconds": 720.0},
            Level.NOTICE,
            "nginx is 12 min behind.",
            id="no-promise-behind",
        ),
        pytest.param(
            {"state": RuleState.FAILED, "objective_seconds": None, "is_fresh": False},
            Level.BAD,
            "nginx has failed.",
            id="no-promise-failed",
        ),
        pytest.param(
            {"state": RuleState.STALLED, "objective_seconds": None, "is_fresh": False},
            Level.BAD,
            "nginx is not all in sync.",
            id="no-promise-stalled",
        ),
    ],
)
def test_level_says_whether_a_promise_is_broken(values: dict[str, object], level: Level, text: str) -> None:
    found = verdict(rule("nginx", **values))  # type: ignore[arg-type] # fields of the builder

    assert (found.level, found.details) == (level, (text,))


def test_worst_come_first_and_the_rest_is_counted() -> None:
    rules = [
        behind("a", 2),
        behind("b", 9),
        behind("c", 2, state=RuleState.FAILED),
        behind("d", 3),
        behind("e", 2),
        rule("f", RuleState.FAILED),
    ]

    found = verdict(*rules)

    assert [detail.split()[0] for detail in found.details] == ["c", "b", "d", "and"]
    assert found.details[-1] == "and 3 more"


def test_long_and_many_lined_cause_is_cut() -> None:
    failed = behind("python", 2, problem=ProblemStatus(code="X", message="word\n" * 200))

    (detail,) = verdict(failed).details

    assert len(detail) < 300
    assert "\n" not in detail
    assert detail.endswith("…")


def test_no_rules_say_what_to_do() -> None:
    found = verdict(config=replace(CONFIG, rules=0))

    assert found == Verdict(
        level=Level.NOTICE,
        headline="No rules yet",
        details=("mirrord.yaml has none: add a rule with a source and targets, and the file is read again.",),
    )


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        pytest.param({"next_run": NEXT}, "The next begins at 14:00 UTC.", id="scheduled"),
        pytest.param({"queued": True}, "A first run is under way.", id="queued"),
        pytest.param({}, "They run when asked to, for there is no schedule.", id="by-hand"),
    ],
)
def test_mirrors_that_never_ran_are_not_called_fresh(values: dict[str, object], detail: str) -> None:
    new = rule("new", RuleState.NEW, **values)

    assert verdict(*[replace(new, name=f"r{number}") for number in range(12)]) == Verdict(
        level=Level.NOTICE, headline="12 mirrors wait for the first run", details=(detail,)
    )


def test_some_that_never_ran_are_counted_apart() -> None:
    found = verdict(rule(), rule("new", RuleState.NEW, next_run=NEXT))

    assert found.headline == "1 of 2 mirrors is fresh"
    assert found.details == ("1 mirror waits for the first run: the next begins at 14:00 UTC.",)
    assert found.level is Level.NOTICE


def test_refused_configuration_says_what_is_in_force() -> None:
    found = verdict(rule(), rule("redis"), config=REFUSED)

    assert found.level is Level.NOTICE
    assert found.headline == "Both mirrors are fresh, but the configuration file was refused"
    (detail,) = found.details
    assert detail.startswith("The configuration file was refused: mirrord.yaml:9:5: rules[0].shedule: unknown key.")
    assert detail.endswith(" The one loaded at 09:12 UTC is in force.")


def test_state_store_is_told_before_the_configuration() -> None:
    found = verdict(behind("nginx", 2), rule("redis"), config=REFUSED, state_error="disk full")

    assert found.headline == "1 of 2 mirrors is fresh, and the state store cannot be used"
    assert found.details[0] == "The state store cannot be used: disk full. Mirroring goes on, but history is not kept."
    assert found.details[1].startswith("The configuration file was refused")
    assert found.details[2].startswith("nginx is")


def test_service_that_ends_says_so() -> None:
    found = verdict(rule(), draining=True)

    assert found.headline == "Stopping: the mirror is fresh"
    assert found.level is Level.NOTICE
    assert found.details == ("mirrord is stopping: what is on its way is finished, and no run begins any more.",)
