from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mirrord.cli.grouping import INTERRUPTED
from mirrord.cli.markdown import markdown_text
from mirrord.cli.markdowntext import code, plain
from mirrord.planning.report import BlobTally, Outcome, Problem
from tests.fakes.reports import MISSING, UNREACHABLE, report, result, rule

PARTS = ("<!-- -->", "<br>")
"""The only HTML that a report has."""


def tokens(text: str) -> list[Token]:
    """Return what a Markdown parser finds, inline tokens among them."""
    found = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [inner for token in found for inner in (token, *(token.children or ()))]


def shown(text: str) -> str:
    """Return the text that a reader of rendered Markdown sees on one line."""
    return "".join(token.content for token in tokens(text) if token.type in {"text", "code_inline", "text_special"})


def test_a_run_in_sync_is_a_headline_and_a_table() -> None:
    text = markdown_text(report(rule(result(Outcome.IN_SYNC, "1.27", "latest"), filtered=3)), 0)

    assert text.splitlines() == [
        "## \N{WHITE HEAVY CHECK MARK} mirrord: everything in sync",
        "",
        "2 images: 2 in sync. 7 requests in 2.0 s.",
        "",
        "### Rules",
        "",
        "| rule | copied | in sync | skipped | blocked | failed | filtered out |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        "| `nginx` |  | 2 |  |  |  | 3 |",
    ]


def test_what_failed_comes_first_with_the_remedy() -> None:
    failed = [result(Outcome.FAILED, f"1.{number}", problem=MISSING) for number in range(2)]

    text = markdown_text(report(rule(*failed, problems=(UNREACHABLE,))), 1)

    assert text.startswith("## \N{CROSS MARK} mirrord: 2 images failed, 1 problem\n")
    assert text.index("### Failed") < text.index("### Rules")
    assert "- **rule nginx**<br>`UNAVAILABLE` docker.io does not answer<br>Remedy: try later\n" in text
    assert (
        "- **nginx** `docker.io/library/nginx:1.0, 1.1 -> registry.internal:5000/mirror/nginx`"
        "<br>`NOT_FOUND` docker.io/library/nginx:nope does not exist<br>Remedy: check the name\n"
    ) in text


def test_copied_images_are_listed_with_what_was_moved_and_saved() -> None:
    copied = result(Outcome.COPIED, "1.27", blobs=BlobTally(uploaded=(2, 1024), mounted=(1, 2048)))

    text = markdown_text(report(rule(copied)), 0)

    assert "mirrord: 1 image copied, everything in sync" in text
    assert "1.0 KiB uploaded, 2.0 KiB saved." in text
    assert "| `nginx` | `docker.io/library/nginx:1.27` | `registry.internal:5000/mirror/nginx` | `" in text
    assert text.rstrip().endswith("| 1.0 KiB |")


def test_of_many_copied_images_fifty_are_listed() -> None:
    copied = [result(Outcome.COPIED, f"1.{number}") for number in range(60)]

    text = markdown_text(report(rule(*copied)), 0)

    assert text.count("| `nginx` | `docker.io") == 50
    assert "and 10 more images; the JSON report has all" in text


@pytest.mark.parametrize(
    ("outcome", "title"), [(Outcome.BLOCKED, "### Blocked"), (Outcome.SKIPPED, "### Skipped")], ids=str
)
def test_what_was_left_alone_is_told_with_its_reason(outcome: Outcome, title: str) -> None:
    text = markdown_text(report(rule(result(outcome, "1", reason="the tag is immutable"))), 4)

    assert title in text
    assert "mirror/nginx`: the tag is immutable\n" in text


def test_a_blocked_image_alone_is_no_failure() -> None:
    text = markdown_text(report(rule(result(Outcome.BLOCKED, "1", reason="immutable"))), 4)

    assert text.startswith("## \N{WARNING SIGN}\N{VARIATION SELECTOR-16} mirrord: 1 image blocked\n")


def test_an_interrupted_run_counts_what_is_left_without_listing_it() -> None:
    left = result(Outcome.SKIPPED, "1", "2", reason=INTERRUPTED)

    text = markdown_text(report(rule(left), interrupted=True), 143)

    assert "mirrord: interrupted, 2 images left" in text
    assert "### Skipped" not in text


def test_warnings_name_their_rule() -> None:
    assert "- **rule nginx**: the filters take none" in markdown_text(
        report(rule(warnings=("the filters take none",))), 0
    )


HOSTILE = (
    "<script>alert(1)</script> <img src=x> [a](http://evil) ![i](x) **b** __b__ `c` ~~d~~ | cell | @team #12 !34"
    " https://evil.example www.evil.example &lt; $x$ :smile: \x1b[31m \u202e # head"
)


def test_hostile_text_makes_no_markup() -> None:
    problem = Problem(code="X", message=HOSTILE, remedy=HOSTILE)
    run = report(rule(result(Outcome.FAILED, "1", problem=problem), warnings=(HOSTILE, HOSTILE)))

    found = tokens(markdown_text(run, 1))

    assert {token.content for token in found if token.type.startswith("html")} <= set(PARTS)
    assert not [token.type for token in found if token.type in {"link_open", "image", "em_open", "s_open", "fence"}]
    assert [token.tag for token in found if token.type == "heading_open"] == ["h2", "h3", "h3", "h3"]
    assert len([token for token in found if token.type == "td_open"]) == 7


def test_references_are_parted_for_those_who_would_link_them() -> None:
    text = plain("@team #12 !34 https://evil www.evil :smile: a:1")

    assert text == r"@<!-- -->team #<!-- -->12 \!<!-- -->34 https:<!-- -->//evil www<!-- -->.evil :<!-- -->smile: a:1"


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_plain_text_comes_back_as_it_was(text: str) -> None:
    expected = text if text.isprintable() else "".join(visible(character) for character in text)

    found = tokens(f"x {plain(text)} x")

    assert shown(f"x {plain(text)} x").split() == f"x {expected} x".split()
    assert {token.type for token in found} <= {
        "paragraph_open", "paragraph_close", "inline", "text", "text_special", "html_inline",
    }  # fmt: skip


@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_code_stays_one_cell_of_a_table(text: str) -> None:
    found = tokens(f"| a | b |\n| --- | --- |\n| {code(text)} | x |\n")

    assert len([token for token in found if token.type == "td_open"]) == 2
    assert len([token for token in found if token.type == "code_inline"]) == 1
    assert not [token for token in found if token.type.startswith("html")]


def visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


@pytest.mark.parametrize("most", [100, 600, 1_500, 5_000, 50_000])
def test_a_report_stays_below_its_size_and_is_cut_between_rows(most: int) -> None:
    rules = [
        replace(rule(result(Outcome.COPIED, "1"), warnings=(f"look at {number}",)), rule=f"rule-{number}")
        for number in range(200)
    ]

    text = markdown_text(report(*rules), 0, most_bytes=most)

    assert len(text.encode()) <= most
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)
    if 200 < most < 50_000:
        shown_rules = sum(line.startswith("| `rule-") and line.count("|") == 8 for line in rows)
        assert f"and {200 - shown_rules:,} more rules; the JSON report has all" in text


def test_text_without_room_for_a_headline_is_empty() -> None:
    assert markdown_text(report(rule()), 0, most_bytes=50) == ""
