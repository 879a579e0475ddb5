"""The choice between listing a repository and asking for each tag."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mirrord.planning.listing import ListingTraits
from mirrord.planning.pattern import TagPattern
from mirrord.planning.rule import TagSelector
from mirrord.planning.survey import Survey, choose_look, choose_survey

PLAIN = ListingTraits(page_size=1000)
DIGESTS = ListingTraits(page_size=100, has_digests=True)
ALL = ListingTraits(page_size=100, has_digests=True, has_times=True)


def literals(count: int, max_age: timedelta | None = None) -> TagSelector:
    return TagSelector(include=tuple(TagPattern.parse(f"t{number}") for number in range(count)), max_age=max_age)


@pytest.mark.parametrize("selector", [TagSelector(), TagSelector(include=(TagPattern.parse("1.*"),))])
def test_filters_by_pattern_need_a_listing(selector: TagSelector) -> None:
    assert choose_survey(selector, 0, PLAIN, 10_000_000) is Survey.LIST


@pytest.mark.parametrize(
    ("count", "traits", "known", "expected"),
    [
        pytest.param(3, DIGESTS, 100_000, Survey.HEAD_EACH, id="three tags of a huge repository"),
        pytest.param(900, DIGESTS, 900, Survey.LIST, id="nine hundred tags on nine pages"),
        pytest.param(9, DIGESTS, 900, Survey.HEAD_EACH, id="equal costs"),
        pytest.param(10, DIGESTS, 900, Survey.LIST, id="one request less"),
        pytest.param(10, DIGESTS, 901, Survey.HEAD_EACH, id="a page that is begun counts"),
        pytest.param(10, DIGESTS, None, Survey.HEAD_EACH, id="unknown size is taken as a thousand tags"),
        pytest.param(11, DIGESTS, None, Survey.LIST, id="unknown size and many tags"),
        pytest.param(2, DIGESTS, 0, Survey.LIST, id="an empty repository is one page"),
        pytest.param(900, DIGESTS, 5, Survey.LIST, id="a repository that was small"),
        pytest.param(900, PLAIN, 900, Survey.HEAD_EACH, id="a listing without digests is only an addition"),
        pytest.param(5, ListingTraits(page_size=0, has_digests=True), 3, Survey.HEAD_EACH, id="page size zero"),
    ],
)
def test_literal_tags_are_asked_for_in_the_cheaper_way(
    count: int, traits: ListingTraits, known: int | None, expected: Survey
) -> None:
    assert choose_survey(literals(count), count, traits, known) is expected


def test_excluded_literals_do_not_count() -> None:
    assert choose_survey(literals(20), 2, DIGESTS, 900) is Survey.HEAD_EACH
    assert choose_survey(literals(20), 0, DIGESTS, 900) is Survey.HEAD_EACH


def test_times_that_a_listing_tells_save_the_requests_for_them() -> None:
    wanted = literals(4, max_age=timedelta(days=1))

    assert choose_survey(wanted, 4, ALL, 900) is Survey.LIST
    assert choose_survey(wanted, 4, DIGESTS, 900) is Survey.HEAD_EACH


@pytest.mark.parametrize(
    ("count", "traits", "known", "expected"),
    [
        pytest.param(1, DIGESTS, None, Survey.HEAD_EACH, id="one tag is one request"),
        pytest.param(2, DIGESTS, None, Survey.LIST, id="two tags on one page"),
        pytest.param(1000, DIGESTS, None, Survey.LIST, id="a thousand tags and their signatures on twenty pages"),
        pytest.param(1000, PLAIN, None, Survey.HEAD_EACH, id="a listing without digests tells nothing"),
        pytest.param(9, DIGESTS, 900, Survey.HEAD_EACH, id="a few tags of a large repository"),
        pytest.param(10, DIGESTS, 900, Survey.LIST, id="one request less"),
        pytest.param(900, DIGESTS, 5, Survey.LIST, id="a repository that was small"),
        pytest.param(0, DIGESTS, None, Survey.HEAD_EACH, id="nothing to look at"),
    ],
)
def test_targets_are_looked_at_in_the_cheaper_way(
    count: int, traits: ListingTraits, known: int | None, expected: Survey
) -> None:
    assert choose_look(count, traits, known) is expected
