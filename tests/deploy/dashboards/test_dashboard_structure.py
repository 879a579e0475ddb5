"""The dashboards are what Grafana imports and provisions, uniform, and made by their script."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from scripts.dashboards.__main__ import made
from tests.deploy.dashboards.grafana import FOLDER, NAMES, ROOT, dashboard, panels

OURS = "https://github.com/mirrord/mirrord/"
BUILT_IN = "-- Grafana --"
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")

each = pytest.mark.parametrize("name", NAMES)


def boxes(board: Any) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Return the place of each panel: left, top, right, bottom."""
    found = []
    for panel in board["panels"]:
        at = panel["gridPos"]
        found.append((panel["title"], (at["x"], at["y"], at["x"] + at["w"], at["y"] + at["h"])))
    return found


def of_key(value: Any, key: str) -> list[Any]:
    """Return all that stands under a key, at any depth."""
    if isinstance(value, dict):
        here = [value[key]] if key in value else []
        return here + [one for inner in value.values() for one in of_key(inner, key)]
    return [one for inner in value for one in of_key(inner, key)] if isinstance(value, list) else []


def is_there(url: str) -> bool:
    """Say whether a page of our repository exists, with the heading."""
    path, _, anchor = re.sub(r"^(blob|tree)/main/", "", url.removeprefix(OURS)).partition("#")
    page = ROOT / path
    return page.exists() and (not anchor or f"## {anchor.replace('-', ' ')}" in page.read_text("utf-8").lower())


def test_files_are_what_the_script_makes() -> None:
    stale = [name for name, text in made().items() if (FOLDER / name).read_text("utf-8") != text]

    assert sorted(made()) == sorted(file.name for file in FOLDER.iterdir())
    assert stale == [], "make dashboards"


@each
def test_dashboard_can_be_imported_and_provisioned(name: str) -> None:
    board = dashboard(name)

    assert board["uid"] == name
    assert board["id"] is None, "an id would be taken for that of a dashboard that exists"
    assert board["schemaVersion"] in range(39, 42)
    assert not {"__inputs", "__requires", "__elements"} & set(board), "what provisioning does not resolve"
    assert board["title"]
    assert board["tags"] == ["mirrord"]
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables[0] == "datasource"
    assert len(variables) == len(set(variables))


def test_dashboards_differ_in_uid_and_title() -> None:
    boards = [dashboard(name) for name in NAMES]

    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == len(NAMES)


@each
def test_dashboard_fits_into_a_config_map(name: str) -> None:
    # Both, and the alerts, are to fit into one of 1 MiB; kubectl apply keeps a copy in an annotation of 256 KiB.
    assert (FOLDER / f"{name}.json").stat().st_size < 200 * 1024


@each
def test_panels_have_numbers_of_their_own(name: str) -> None:
    numbers = [panel["id"] for panel in dashboard(name)["panels"]]

    assert len(numbers) == len(set(numbers))
    assert all(isinstance(number, int) and number > 0 for number in numbers)


@each
def test_panels_have_titles_of_their_own(name: str) -> None:
    titles = [panel["title"] for panel in dashboard(name)["panels"]]

    assert len(titles) == len(set(titles))


@each
def test_panels_lie_side_by_side_on_the_grid(name: str) -> None:
    placed = boxes(dashboard(name))
    overlapping = [
        (one, other)
        for (one, (left, top, right, bottom)), (other, (left2, top2, right2, bottom2)) in itertools.combinations(
            placed, 2
        )
        if left < right2 and left2 < right and top < bottom2 and top2 < bottom
    ]

    assert overlapping == []
    assert all(0 <= left < right <= 24 and top < bottom for _, (left, top, right, bottom) in placed)
    covered = {
        (x, y) for _, (left, top, right, bottom) in placed for x in range(left, right) for y in range(top, bottom)
    }
    assert len(covered) == 24 * (max(y for _, y in covered) + 1), "no hole is left"


@each
def test_rows_are_questions(name: str) -> None:
    rows = [panel for panel in dashboard(name)["panels"] if panel["type"] == "row"]

    assert len(rows) >= 5
    assert all(row["title"].endswith("?") and row["panels"] == [] and row["collapsed"] is False for row in rows)
    assert dashboard(name)["panels"][0] == rows[0]
    assert rows[0]["title"] == "Is the mirror fresh?"


@each
def test_every_panel_says_what_it_means_and_what_there_is_when_there_is_nothing(name: str) -> None:
    for panel in panels(dashboard(name)):
        about, defaults = panel["description"], panel["fieldConfig"]["defaults"]
        assert len(about) > 40, panel["title"]
        assert about.endswith("."), panel["title"]
        assert defaults["unit"], panel["title"]
        assert len(defaults["noValue"].split()) >= 2, panel["title"]
        assert panel["targets"], panel["title"]


@each
def test_every_query_goes_to_the_data_source_that_was_chosen(name: str) -> None:
    board = dashboard(name)
    sources = {json.dumps(source, sort_keys=True) for source in of_key(board, "datasource")}

    assert sources == {
        json.dumps({"type": "prometheus", "uid": "${datasource}"}, sort_keys=True),
        json.dumps({"type": "grafana", "uid": BUILT_IN}, sort_keys=True),
    }
    (built_in,) = (one for one in board["annotations"]["list"] if one["datasource"]["uid"] == BUILT_IN)
    assert built_in["builtIn"] == 1
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))
        assert all("datasource" in target for target in panel["targets"])


@each
def test_a_colour_says_nothing_that_words_or_numbers_do_not(name: str) -> None:
    """Red and green alone are one to many; the colours are Okabe and Ito's."""
    safe = {"#009E73", "#E69F00", "#D55E00", "#56B4E9", "#0072B2", "#CC79A7", "#999999"}
    board = dashboard(name)
    used = {
        *of_key(board["panels"], "fixedColor"),
        *(one for one in of_key(board["panels"], "color") if isinstance(one, str)),
    }

    assert used <= safe
    for mappings in of_key(board["panels"], "mappings"):
        for mapping in mappings:
            results = mapping["options"].values() if mapping["type"] == "value" else [mapping["options"]["result"]]
            assert all(result["text"] for result in results)


@each
def test_thresholds_rise(name: str) -> None:
    for thresholds in of_key(dashboard(name)["panels"], "thresholds"):
        first, *later = [step["value"] for step in thresholds["steps"]]
        assert first is None
        assert later == sorted(set(later))


@each
def test_links_lead_to_pages_that_exist(name: str) -> None:
    board = dashboard(name)
    urls = [url for url in of_key(board, "url") if url]
    of_the_page = re.compile(r"\$\{status_page\}(/#rule=\$\{__(field\.labels\.rule|value\.raw)\})?")

    lost = [url for url in urls if not (is_there(url) if url.startswith(OURS) else of_the_page.fullmatch(url))]

    assert lost == []
    assert any(url.startswith(OURS) for url in urls)


def test_series_and_cells_of_a_rule_lead_to_the_rule_on_the_status_page() -> None:
    """A link through a label needs series that have it; a link of a cell needs a column that holds it."""
    linked = 0
    for panel in panels(dashboard("mirrord")):
        of_series = [link["url"] for link in panel["fieldConfig"]["defaults"].get("links", [])]
        has_rule = any("rule" in LEGEND.findall(target["legendFormat"]) for target in panel["targets"])
        if panel["type"] != "table":
            assert bool(of_series) == has_rule, panel["title"]
            assert all("__field.labels.rule" in url for url in of_series)
        elif any("rule" in target["expr"].partition("mirrord_")[0] for target in panel["targets"]):
            (column,) = (one for one in panel["fieldConfig"]["overrides"] if one["matcher"]["options"] == "Rule")
            assert "__value.raw" in json.dumps(column)
        linked += has_rule or "__value.raw" in json.dumps(panel)

    assert linked >= 8
    page = (ROOT / "mirrord/web/page/list.js").read_text("utf-8")
    assert "#rule=" in page, "the anchor of the status page"


@each
def test_columns_of_a_table_are_those_that_its_overrides_name(name: str) -> None:
    for panel in panels(dashboard(name)):
        if panel["type"] != "table":
            continue
        *merge, organize = panel["transformations"]
        columns = set(organize["options"]["renameByName"].values())
        named = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert named <= columns, panel["title"]
        assert {one["displayName"] for one in panel["options"]["sortBy"]} <= columns
        assert bool(merge) == (len(panel["targets"]) > 1)
        assert all(target["format"] == "table" and target["instant"] for target in panel["targets"])


@each
def test_annotations_take_moments_from_values(name: str) -> None:
    events = [one for one in dashboard(name)["annotations"]["list"] if not one.get("builtIn")]

    assert "Runs" in {one["name"] for one in events}
    assert any("fail" in one["name"].lower() for one in events)
    for one in events:
        assert one["useValueForTime"] is True
        assert "* 1000" in one["expr"], "milliseconds"
        assert one["target"]["expr"] == one["expr"]
        assert one["textFormat"].endswith(".")


def test_page_in_the_documentation_has_the_rows_of_the_dashboard() -> None:
    page = (ROOT / "docs/how-to/watch-it-in-grafana.md").read_text("utf-8")
    rows = [panel["title"] for panel in dashboard("mirrord")["panels"] if panel["type"] == "row"]
    titles = {panel["title"] for panel in panels(dashboard("mirrord"))}

    table = re.findall(r"^\| \*\*(.+?)\*\* \|.*\| (.+) \|$", page, re.MULTILINE)

    assert [row for row, _ in table] == rows
    begun = {title for _, begin in table for title in re.findall(r"\*(.+?)\*", begin)}
    assert {title for title in begun if not any(name.startswith(title) for name in titles)} == set()
