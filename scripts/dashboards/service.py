"""The dashboard of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from scripts.dashboards import daemon, freshness, registries, work
from scripts.dashboards.freshness import ALL, RULE
from scripts.dashboards.parts import BAD, BLUE, GREY, PURPLE, REPOSITORY, SOURCE, Json, place

ROWS: Final = (
    freshness.ROW,
    work.MOVING,
    work.FAILING,
    registries.REGISTRIES,
    registries.SAVED,
    daemon.ROW,
)
SCHEMA_VERSION: Final = 39
"""What Grafana 11 reads as it is; later ones bring it up to date when they load it."""


def dashboard() -> Json:
    """Return the dashboard of the service."""
    variables = [
        data_source(),
        chosen("job", "Job", "Of the scrape configuration.", "label_values(mirrord_build_info, job)"),
        chosen(
            "instance",
            "Instance",
            "One mirrord, or several that are looked at together.",
            'label_values(mirrord_build_info{job=~"$job"}, instance)',
        ),
        chosen(
            "rule",
            "Rule",
            "Rules of the configuration. Panels about registries are of all rules.",
            f"label_values(mirrord_runs_total{{{ALL}}}, rule)",
            all_value=".*",
        ),
        chosen(
            "registry",
            "Registry",
            "Hosts that are read or written. Panels about rules are of all registries.",
            f"label_values(mirrord_requests_total{{{ALL}}}, registry)",
            all_value=".*",
        ),
        status_page(),
    ]
    annotations = [
        event(
            "Rules that began to fail",
            "The end of the first run that failed after one that did not, or after the start of the service.",
            f"(mirrord_last_run_timestamp_seconds{{{RULE}}} * 1000) and on (job, instance, rule) "
            f"(mirrord_failed_runs{{{RULE}}} == 1)",
            BAD,
            title="{{rule}} began to fail",
            tags="rule",
        ),
        event(
            "Runs",
            "The moment at which a run ended, for each rule. Choose few rules before this is switched on.",
            f"mirrord_last_run_timestamp_seconds{{{RULE}}} * 1000",
            GREY,
            title="{{rule}} ran",
            tags="rule",
            is_on=False,
        ),
        event(
            "Configurations",
            "The moment at which a configuration was loaded.",
            f"mirrord_config_last_reload_timestamp_seconds{{{ALL}}} * 1000",
            BLUE,
            title="configuration loaded",
            tags="instance",
        ),
        event(
            "Starts",
            "The moment at which an instance was started.",
            f"process_start_time_seconds{{{ALL}}} * 1000 and on (job, instance) mirrord_build_info{{{ALL}}}",
            PURPLE,
            title="{{instance}} started",
            tags="instance",
        ),
    ]
    about = "Is the mirror fresh, and if not, why?"
    page = link("Status page", "${status_page}", "Rules, images and errors, as they stand")
    return whole(
        "mirrord", "mirrord", about, variables=variables, annotations=annotations, panels=place(ROWS), links=[page]
    )


def whole(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Sequence[Json],
    annotations: Sequence[Json],
    panels: Sequence[Json],
    links: Sequence[Json] = (),
    since: str = "now-6h",
) -> Json:
    """Return a dashboard as it is imported and provisioned: without a number or a folder of its own."""
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["mirrord"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "timepicker": {},
        "links": [
            *links,
            link("Runbooks", f"{REPOSITORY.replace('/blob/', '/tree/')}/runbooks", "What to do when an alert fires"),
            link("How to read this", f"{REPOSITORY}/how-to/watch-it-in-grafana.md", "What each row answers"),
            {**link("Dashboards", "", "The other dashboards of mirrord"), "type": "dashboards", "tags": ["mirrord"]},
        ],
        "templating": {"list": list(variables)},
        "annotations": {"list": [of_grafana(), *annotations]},
        "panels": list(panels),
    }


def link(title: str, url: str, tooltip: str) -> Json:
    """Return a link at the top of a dashboard."""
    is_elsewhere = bool(url)
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": not is_elsewhere,
        "keepTime": not is_elsewhere,
        "tags": [],
        "targetBlank": is_elsewhere,
        "title": title,
        "tooltip": tooltip,
        "type": "link",
        "url": url,
    }


def data_source() -> Json:
    """Return the variable that names the Prometheus to ask; it begins with the default one."""
    return {
        "name": "datasource",
        "label": "Data source",
        "description": "The Prometheus that scrapes mirrord.",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "current": {},
        "options": [],
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "skipUrlSync": False,
    }


def chosen(name: str, label: str, description: str, query: str, *, all_value: str | None = None) -> Json:
    """Return a variable of one, several or all values of a label.

    Without an ``all_value``, "All" stands for each value that was found. That is needed where a label is not
    mirrord's own: ``job=~".*"`` would take the processes and targets of everybody.
    """
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"qryType": 1, "query": query, "refId": f"variable-{name}"},
        "regex": "",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "allValue": all_value,
        "includeAll": True,
        "multi": True,
        "hide": 0,
        "refresh": 2,
        "skipUrlSync": False,
        "sort": 1,
    }


def status_page() -> Json:
    """Return the variable that says where links to the status page lead."""
    address = "http://localhost:8080"
    return {
        "name": "status_page",
        "label": "Status page",
        "description": "Where your browser reaches mirrord's status page, without a slash at the end.",
        "type": "textbox",
        "query": address,
        "current": {"selected": True, "text": address, "value": address},
        "options": [{"selected": True, "text": address, "value": address}],
        "hide": 0,
        "skipUrlSync": False,
    }


def event(name: str, description: str, expr: str, colour: str, *, title: str, tags: str, is_on: bool = True) -> Json:
    """Return an annotation for each moment that an expression has had as a value, in milliseconds since 1970."""
    target = {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "instant": False,
        "interval": "",
        "range": True,
        "refId": "Anno",
    }
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": is_on,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "step": "15s",
        "tagKeys": tags,
        "target": target,
        "textFormat": description,
        "titleFormat": title,
        "useValueForTime": True,
    }


def of_grafana() -> Json:
    """Return the annotations that people write themselves, which every dashboard has."""
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }
