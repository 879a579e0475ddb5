"""The kinds of panels: one number, series, bars of counts, states over time, a bar for each name, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from scripts.dashboards.parts import PLAIN, Json, Panel, Query, by_name

BARS_OF: Final = "2m"
"""The least width of a bar of counts: narrower ones would be nearly all empty, or one high."""


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    nothing: str,
    thresholds: Json = PLAIN,
    mappings: Sequence[Json] = (),
    width: int = 4,
    decimals: int | None = None,
    links: Sequence[Json] = (),
    height: int = 4,
    shows: str = "auto",
) -> Panel:
    """Return a panel of one number, as it is now; it ``shows`` the value, or the ``name`` of the series instead."""
    defaults = _defaults(unit, nothing, thresholds, mappings, decimals)
    body: Json = {
        "targets": [query.json(0)],
        "fieldConfig": {"defaults": {**defaults, "color": {"mode": "thresholds"}}, "overrides": []},
        "options": {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": shows,
            "wideLayout": True,
        },
        "links": list(links),
    }
    return Panel(title, "stat", description, width, height, body)


def series(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    nothing: str,
    thresholds: Json | None = None,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    is_stacked: bool = False,
    width: int = 8,
    top: float | None = None,
    calcs: Sequence[str] = ("lastNotNull", "max"),
) -> Panel:
    """Return a panel of lines over time; with thresholds, their lines are drawn too.

    Where lines end when all is well, ``calcs`` is to be the greatest value alone: the last one would be told as if it
    held.
    """
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if is_stacked else 10,
        "gradientMode": "none",
        "showPoints": "auto",
        "pointSize": 5,
        "spanNulls": False,
        "axisSoftMin": 0,
        "axisPlacement": "auto",
        "stacking": {"mode": "normal" if is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if thresholds else "off"},
        **({"axisSoftMax": top} if top is not None else {}),
    }
    return _over_time(
        title,
        description,
        queries,
        unit=unit,
        nothing=nothing,
        thresholds=thresholds or PLAIN,
        overrides=overrides,
        links=links,
        data_links=data_links,
        width=width,
        custom=custom,
        calcs=calcs,
    )


def counts(
    title: str,
    description: str,
    *queries: Query,
    nothing: str,
    unit: str = "short",
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    width: int = 8,
) -> Panel:
    """Return a panel of stacked bars: how many of what happened in each while."""
    custom = {
        "drawStyle": "bars",
        "lineWidth": 0,
        "fillOpacity": 80,
        "gradientMode": "none",
        "barAlignment": -1,
        "showPoints": "never",
        "axisSoftMin": 0,
        "axisPlacement": "auto",
        "stacking": {"mode": "normal", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
    }
    panel = _over_time(
        title,
        description,
        queries,
        unit=unit,
        nothing=nothing,
        thresholds=PLAIN,
        overrides=overrides,
        links=links,
        data_links=data_links,
        width=width,
        custom=custom,
        calcs=("sum",),
        decimals=0,
    )
    panel.body["interval"] = BARS_OF
    return panel


def _over_time(
    title: str,
    description: str,
    queries: Sequence[Query],
    *,
    unit: str,
    nothing: str,
    thresholds: Json,
    overrides: Sequence[Json],
    links: Sequence[Json],
    data_links: Sequence[Json],
    width: int,
    custom: Json,
    calcs: Sequence[str],
    decimals: int | None = None,
) -> Panel:
    color = {"mode": "palette-classic-by-name"}
    defaults = {**_defaults(unit, nothing, thresholds, (), decimals), "color": color, "custom": custom, "min": 0}
    body: Json = {
        "targets": [query.json(index) for index, query in enumerate(queries)],
        "fieldConfig": {"defaults": {**defaults, "links": list(data_links)}, "overrides": list(overrides)},
        "options": {
            "legend": {"calcs": list(calcs), "displayMode": "table", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
        },
        "links": list(links),
    }
    return Panel(title, "timeseries", description, width, 8, body)


def states(
    title: str,
    description: str,
    query: Query,
    *,
    nothing: str,
    mappings: Sequence[Json],
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    width: int = 12,
) -> Panel:
    """Return a panel of states over time, a band for each name."""
    defaults = _defaults("none", nothing, PLAIN, mappings, None)
    custom = {"fillOpacity": 70, "lineWidth": 0, "spanNulls": False, "insertNulls": False}
    body: Json = {
        "targets": [query.json(0)],
        "fieldConfig": {
            "defaults": {**defaults, "color": {"mode": "thresholds"}, "custom": custom, "links": list(data_links)},
            "overrides": [],
        },
        "options": {
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "mergeValues": True,
            "perPage": 20,
            "rowHeight": 0.8,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        "links": list(links),
    }
    return Panel(title, "state-timeline", description, width, 8, body)


def ranking(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    nothing: str,
    thresholds: Json = PLAIN,
    links: Sequence[Json] = (),
    data_links: Sequence[Json] = (),
    width: int = 8,
    decimals: int | None = None,
    height: int = 8,
) -> Panel:
    """Return a panel with a bar for each name."""
    defaults = _defaults(unit, nothing, thresholds, (), decimals)
    body: Json = {
        "targets": [query.json(index) for index, query in enumerate(queries)],
        "fieldConfig": {
            "defaults": {**defaults, "color": {"mode": "thresholds"}, "min": 0, "links": list(data_links)},
            "overrides": [],
        },
        "options": {
            "displayMode": "basic",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
            "maxVizHeight": 40,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "left",
            "orientation": "horizontal",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "text",
        },
        "links": list(links),
    }
    return Panel(title, "bargauge", description, width, height, body)


def table(
    title: str,
    description: str,
    columns: Mapping[str, Query],
    *,
    labels: Mapping[str, str],
    nothing: str,
    sort_by: str,
    is_descending: bool = True,
    overrides: Sequence[Json] = (),
    links: Sequence[Json] = (),
    width: int = 24,
    height: int = 9,
) -> Panel:
    """Return a table of how things stand now: columns of labels, and one for each query, merged by the labels."""
    is_alone = len(columns) == 1
    values = {"Value" if is_alone else f"Value #{chr(ord('A') + i)}": name for i, name in enumerate(columns)}
    renamed = {**labels, **values}
    order = {column: index for index, column in enumerate(renamed)}
    body: Json = {
        "targets": [query.json(index, is_table=True) for index, query in enumerate(columns.values())],
        "transformations": [
            *([] if is_alone else [{"id": "merge", "options": {}}]),
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "includeByName": {},
                    "indexByName": order,
                    "renameByName": renamed,
                },
            },
        ],
        "fieldConfig": {
            "defaults": {
                **_defaults("none", nothing, PLAIN, (), None),
                "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False},
            },
            "overrides": list(overrides),
        },
        "options": {
            "cellHeight": "sm",
            "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
            "showHeader": True,
            "sortBy": [{"displayName": sort_by, "desc": is_descending}],
        },
        "links": list(links),
    }
    return Panel(title, "table", description, width, height, body)


def cells(
    column: str,
    unit: str,
    *,
    thresholds: Json | None = None,
    mappings: Sequence[Json] = (),
    width_px: int | None = None,
    decimals: int | None = None,
) -> Json:
    """Return an override for a column of a table; with thresholds or words, its text is coloured by them.

    A cell without a value shows a dash: what stands in place of a whole table would be wrong there.
    """
    is_coloured = thresholds is not None or bool(mappings)
    return by_name(
        column,
        {
            "unit": unit,
            **({"thresholds": thresholds} if thresholds is not None else {}),
            **({"mappings": list(mappings)} if mappings else {}),
            **({"custom.cellOptions": {"type": "color-text"}} if is_coloured else {}),
            **({"custom.width": width_px} if width_px is not None else {}),
            **({"decimals": decimals} if decimals is not None else {}),
            "noValue": "-",
        },
    )


def _defaults(unit: str, nothing: str, thresholds: Json, mappings: Sequence[Json], decimals: int | None) -> Json:
    return {
        "unit": unit,
        "noValue": nothing,
        "thresholds": thresholds,
        "mappings": list(mappings),
        **({"decimals": decimals} if decimals is not None else {}),
    }
