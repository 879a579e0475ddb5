"""Scopes, marks, intervals and histories: what proofs and rechecks are made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mirrord.oci.platform import Platform
from mirrord.oci.reference import Repository
from mirrord.planning.memory import (
    SOONEST,
    SeenDigest,
    is_recent,
    mark_of,
    scope_of,
    share_of,
    what_came_later,
)
from mirrord.planning.pattern import TagPattern
from mirrord.planning.rule import (
    ForeignLayers,
    IndexMode,
    OnRollback,
    PlatformSelector,
    Policy,
    Referrers,
    Rule,
    Source,
    TagSelector,
)
from tests.fakes.images import digest_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AMD, ARM = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
RULE = Rule(name="rule", source=Source(location=Repository("a.test", "app")), targets=())
FILTERED = replace(RULE, platforms=PlatformSelector(platforms=(AMD, ARM)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RULE, FILTERED),
        (FILTERED, replace(FILTERED, platforms=PlatformSelector(platforms=(AMD,)))),
        (FILTERED, replace(FILTERED, platforms=replace(FILTERED.platforms, mode=IndexMode.SPARSE))),
        (RULE, replace(RULE, referrers=Referrers(enabled=False))),
        (RULE, replace(RULE, referrers=Referrers(types=("a/b",)))),
        (RULE, replace(RULE, policy=Policy(foreign_layers=ForeignLayers.FETCH))),
    ],
    ids=["platforms", "another platform", "mode", "no referrers", "types", "foreign layers"],
)
def test_scope_changes_with_what_a_target_should_hold(one: Rule, other: Rule) -> None:
    assert scope_of(one) != scope_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RULE, replace(RULE, name="another", freshness=HOUR, tags=TagSelector(include=(TagPattern.parse("1.*"),)))),
        (RULE, replace(RULE, platforms=PlatformSelector(mode=IndexMode.SPARSE))),
        (FILTERED, replace(FILTERED, platforms=PlatformSelector(platforms=(ARM, AMD)))),
        (RULE, replace(RULE, referrers=Referrers(recheck=HOUR))),
        (RULE, replace(RULE, policy=Policy(overwrite=False, on_rollback=OnRollback.BLOCK, target_recheck=HOUR * 9))),
    ],
    ids=["tags", "mode without platforms", "order of platforms", "recheck", "policy"],
)
def test_scope_stays_where_a_target_should_hold_the_same(one: Rule, other: Rule) -> None:
    assert scope_of(one) == scope_of(other)


def test_mark_is_that_of_a_set_of_digests() -> None:
    one, other = digest_of("one"), digest_of("other")

    assert mark_of([one, other]) == mark_of([other, one, one])
    assert len({mark_of([]), mark_of([one]), mark_of([other]), mark_of([one, other])}) == 4
    assert mark_of([])


@pytest.mark.parametrize("name", ["a.test/app:1.0", "a.test/app:2.0", ""])
def test_what_was_found_out_is_recent_for_three_quarters_of_the_interval_and_never_longer_than_it(name: str) -> None:
    assert is_recent(NOW, HOUR, name, NOW)
    assert is_recent(NOW, HOUR, name, NOW + HOUR * SOONEST - timedelta(seconds=1))
    assert not is_recent(NOW, HOUR, name, NOW + HOUR)


def test_names_spread_over_the_last_quarter_of_an_interval() -> None:
    names = [f"a.test/app:{number}" for number in range(1000)]
    left = [sum(is_recent(NOW, HOUR, name, NOW + HOUR * share) for name in names) for share in (0.8, 0.85, 0.9, 0.95)]

    assert all(abs(found - wanted) < 60 for found, wanted in zip(left, (800, 600, 400, 200), strict=True))


def test_nothing_is_recent_that_is_unknown_or_yet_to_come_or_holds_for_no_time() -> None:
    assert not is_recent(None, HOUR, "name", NOW)
    assert not is_recent(NOW + timedelta(seconds=1), HOUR, "name", NOW)
    assert not is_recent(NOW, timedelta(0), "name", NOW)


def test_share_of_a_name_is_always_the_same_and_below_one() -> None:
    shares = [share_of(f"name {number}") for number in range(100)]

    assert shares == [share_of(f"name {number}") for number in range(100)]
    assert all(0 <= share < 1 for share in shares)


def seen(name: str, hours: int) -> SeenDigest:
    return SeenDigest(tag="1.0", digest=digest_of(name), first_seen=NOW + HOUR * hours)


@pytest.mark.parametrize(
    ("history", "digest", "later"),
    [
        pytest.param([], "old", None, id="no history"),
        pytest.param([("old", 0)], "old", None, id="the only one"),
        pytest.param([("old", 0)], "new", None, id="never seen"),
        pytest.param([("old", 0), ("new", 1)], "new", None, id="the newest"),
        pytest.param([("old", 0), ("new", 1)], "old", "new", id="back by one"),
        pytest.param([("old", 0), ("new", 1), ("newest", 2)], "old", "newest", id="back by two"),
        pytest.param([("newest", 2), ("old", 0), ("new", 1)], "new", "newest", id="in any order"),
        pytest.param([("old", 0), ("new", 0)], "old", None, id="seen at the same moment"),
    ],
)
def test_tag_went_back_if_it_had_a_newer_digest_after_this_one(
    history: list[tuple[str, int]], digest: str, later: str | None
) -> None:
    found = what_came_later([seen(name, hours) for name, hours in history], digest_of(digest))

    assert (found.digest if found is not None else None) == (digest_of(later) if later is not None else None)
