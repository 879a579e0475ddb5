from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrord.cli.grouping import INTERRUPTED
from mirrord.cli.junit import junit_text
from mirrord.planning.report import BlobTally, Outcome, Problem, RunReport
from tests.fakes.reports import MISSING, UNREACHABLE, report, result, rule

TIME = re.compile(r"\d+\.\d{3}")
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    # element: attributes that it needs, further ones, and elements inside; a subset of the xunit plug-in's junit-10.xsd
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        set(),
        {"properties", "testcase", "system-out"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": ({"classname", "name", "time"}, set(), {"failure", "skipped"}),
    "failure": ({"type", "message"}, set(), set()),
    "skipped": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}
HOSTILE = "a<b>&\"' ]]> \x00\x1b[31m\x0b \u202eevil\u2066 \ufffe \ud800 \r\n \U0001f600"


def parsed(run: RunReport, code: int = 0, **options: int) -> Element:
    """Return the report of a run after it was held against the schema, and its counts against its cases."""
    root = ET.fromstring(junit_text(run, code, **options))
    check(root)
    return root


def check(root: Element) -> None:
    assert root.tag == "testsuites"
    for element in root.iter():
        needed, further, inside = SCHEMA[element.tag]
        assert needed <= set(element.attrib) <= needed | further, element.tag
        assert {child.tag for child in element} <= inside, element.tag
        if "time" in element.attrib:
            assert TIME.fullmatch(element.attrib["time"])
        if element.tag in {"testsuites", "testsuite"}:
            cases = list(element.iter("testcase"))
            assert element.attrib["tests"] == str(len(cases))
            assert element.attrib["failures"] == str(len(list(element.iter("failure"))))
    names = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(names) == len(set(names)), "GitLab takes classname and name for the key"


def names(root: Element) -> list[str]:
    return [case.attrib["name"] for case in root.iter("testcase")]


def test_a_rule_is_a_suite_and_each_tag_on_each_target_a_case() -> None:
    copied = result(Outcome.COPIED, "1.27", "latest", seconds=1.5, blobs=BlobTally(uploaded=(1, 10), mounted=(1, 5)))

    root = parsed(report(rule(copied, result(Outcome.IN_SYNC, "1.26"), filtered=4)))

    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["time"]) == ("3", "0", "2.000")
    suite = root[0]
    assert (suite.attrib["name"], suite.attrib["time"]) == ("nginx", "1.500")
    assert suite.attrib["timestamp"] == "2026-01-02T03:04:05"
    target = "registry.internal:5000/mirror/nginx"
    assert names(root) == [f"docker.io/library/nginx:{tag} -> {target}" for tag in ("1.26", "1.27", "latest")]
    assert {case.attrib["classname"] for case in root.iter("testcase")} == {"nginx"}
    properties = {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")}
    assert properties.pop("mirrord")
    assert properties == {
        "exit_code": "0",
        "interrupted": "false",
        "listed": "7",
        "filtered": "4",
        "copied": "2",
        "uploaded_bytes": "10",
        "saved_bytes": "5",
    }


def test_a_failed_image_is_a_failure_with_code_message_and_remedy() -> None:
    root = parsed(report(rule(result(Outcome.FAILED, "1.27", problem=MISSING))), 1)

    failure = next(root.iter("failure"))
    assert failure.attrib["type"] == "NOT_FOUND"
    assert failure.attrib["message"] == "failed: NOT_FOUND: docker.io/library/nginx:nope does not exist"
    assert failure.text is not None
    assert "remedy: check the name\nsource: docker.io/library/nginx\n" in failure.text


@pytest.mark.parametrize("outcome", [Outcome.BLOCKED, Outcome.SKIPPED])
def test_an_image_that_was_left_alone_is_skipped_with_the_reason(outcome: Outcome) -> None:
    root = parsed(report(rule(result(outcome, "1.27", reason="the tag is immutable"))))

    assert root[0].attrib["skipped"] == "1"
    assert next(root.iter("skipped")).attrib["message"] == f"{outcome.value}: the tag is immutable"


def test_a_problem_of_a_rule_is_a_failing_case_of_its_own() -> None:
    root = parsed(report(rule(result(Outcome.IN_SYNC, "1"), problems=(UNREACHABLE, MISSING))), 1)

    assert names(root)[:2] == ["rule nginx", "rule nginx (2)"]
    assert [failure.attrib["type"] for failure in root.iter("failure")] == ["UNAVAILABLE", "NOT_FOUND"]


def test_a_rule_without_images_is_a_case_that_went_well() -> None:
    """Jenkins fails a build whose report has no case at all."""
    root = parsed(report(rule(warnings=("the filters take none of its tags",))))

    assert names(root) == ["rule nginx: no images"]
    assert root[0].findtext("system-out") == "warning: the filters take none of its tags"


def test_an_interrupted_run_has_a_failing_case_that_says_so() -> None:
    left = result(Outcome.SKIPPED, "1.27", "1.28", reason=INTERRUPTED)

    root = parsed(report(rule(left), interrupted=True), 143)

    assert next(root.iter("failure")).attrib["message"] == (
        "INTERRUPTED: the run ended early; 2 images not attempted or not finished"
    )
    assert len(list(root.iter("skipped"))) == 2


def test_two_images_of_one_name_get_names_of_their_own() -> None:
    twice = result(Outcome.IN_SYNC, "1.27")

    assert len(names(parsed(report(rule(twice, twice))))) == 2


def test_hostile_text_is_shown_and_does_nothing() -> None:
    problem = Problem(code="UNAVAILABLE", message=HOSTILE, remedy=HOSTILE)

    root = parsed(report(rule(result(Outcome.FAILED, "1", problem=problem), warnings=(HOSTILE,))))

    failure = next(root.iter("failure"))
    for text in (failure.attrib["message"], failure.text or "", root[0].findtext("system-out") or ""):
        assert "a<b>&\"' ]]>" in text
        assert "\\x00\\x1b[31m\\x0b" in text
        assert "\\u202eevil\\u2066 \\ufffe \\ud800 \\r\n \U0001f600" in text


@given(text=st.text(st.characters(), max_size=30))
def test_any_text_comes_back_but_for_characters_that_are_told_by_number(text: str) -> None:
    problem = Problem(code="X", message=text)

    root = parsed(report(rule(result(Outcome.FAILED, "1", problem=problem))))

    shown = next(root.iter("failure")).attrib["message"].removeprefix("failed: X: ")
    expected = (c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    assert shown == "".join(expected)


def test_a_report_stays_below_its_size_and_keeps_what_failed() -> None:
    """Cases that went well are left out first, and the suite says how many."""
    failed = [result(Outcome.FAILED, f"f{number}", problem=MISSING) for number in range(20)]
    well = [result(Outcome.IN_SYNC, f"w{number}") for number in range(500)]

    root = parsed(report(rule(*failed, *well)), 1, most_bytes=20_000)

    assert len(ET.tostring(root)) < 20_000
    assert len(list(root.iter("failure"))) == 20
    left = next(one.attrib["value"] for one in root.iter("property") if one.attrib["name"] == "left_out")
    assert int(left) + len(names(root)) == 520
    assert 0 < len(names(root)) - 20 < 500


def test_failures_beyond_half_of_the_room_are_told_briefly() -> None:
    problem = Problem(code="UNAVAILABLE", message="m" * 300, remedy="r" * 300)
    failed = [result(Outcome.FAILED, f"f{number}", problem=problem) for number in range(60)]

    root = parsed(report(rule(*failed)), 1, most_bytes=40_000)

    told = [len(failure.text or "") for failure in root.iter("failure")]
    assert told[0] > 600
    assert told[-1] == 0
    assert len(told) == 60


def test_every_rule_has_a_suite_of_its_own() -> None:
    other = replace(rule(result(Outcome.IN_SYNC, "1")), rule="redis")

    assert [suite.attrib["name"] for suite in parsed(report(rule(), other))] == ["nginx", "redis"]
