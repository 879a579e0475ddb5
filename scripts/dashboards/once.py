"""The dashboard of single runs, whose metrics wait on a Pushgateway or in a file of node_exporter.

What was counted stands still until the next run replaces it: values are shown as they are, never as rates.
"""

from __future__ import annotations

from typing import Final

from scripts.dashboards.panels import cells, number, ranking, series, table
from scripts.dashboards.parts import (
    BAD,
    BLUE,
    GOOD,
    GREY,
    NOTICE,
    Json,
    Query,
    Row,
    by_name,
    coloured,
    place,
    read_more,
    steps,
    words,
)
from scripts.dashboards.service import chosen, data_source, event, whole
from scripts.dashboards.work import NOT_IN_SYNC, REMEDIES, STATES

ALL: Final = 'job=~"$job", instance=~"$instance"'
RULE: Final = f'{ALL}, rule=~"$rule"'
BY_RULE: Final = "job, instance, rule"

RESULTS: Final = words({1: ("ok", GOOD), 2: ("refused", NOTICE), 3: ("interrupted", NOTICE), 4: ("failed", BAD)})
RESULT: Final = " + ".join(
    f'{code} * max by ({BY_RULE}) (mirrord_runs_total{{{RULE}, result="{result}"}})'
    for code, result in enumerate(("ok", "refused", "interrupted", "failed"), 1)
)
IN_CI: Final = read_more("Run it in CI", "how-to/run-in-ci.md")


def of_rule(expr: str) -> Query:
    """Return a column of the table of rules."""
    return Query(expr, is_now=True)


FRESH: Final = Row(
    "Is the mirror fresh?",
    (
        number(
            "Rules not in sync",
            "Rules whose last run failed, was interrupted, or had something kept back by a policy.",
            Query(f'sum(mirrord_runs_total{{{RULE}, result!="ok"}})', is_now=True),
            unit="none",
            nothing="no run has left metrics",
            thresholds=steps((1, BAD)),
            mappings=words({0: ("none", GOOD)}),
        ),
        number(
            "Images in sync",
            "The share of the selected images (tags on targets) that the last runs left in sync.",
            Query(f'sum(mirrord_images{{{RULE}, state="in_sync"}}) / sum(mirrord_images{{{RULE}}})', is_now=True),
            unit="percentunit",
            nothing="no run has left metrics",
            thresholds=steps((0.99, NOTICE), (1, GOOD), first=BAD),
            mappings=words({}, not_a_number="no image"),
            decimals=1,
        ),
        number(
            "Longest without success",
            "The time since the last run with everything in sync, of the rule for which that is longest. It grows too "
            "when the job does not run at all: alert on this one.",
            Query(f"max(time() - mirrord_last_success_timestamp_seconds{{{RULE}}})", is_now=True),
            unit="s",
            nothing="no rule has succeeded",
            decimals=0,
            links=(IN_CI,),
        ),
        number(
            "Never succeeded",
            "Rules that ran, and of which no run ended with everything in sync, as far as the metrics know. The number "
            "to the left knows nothing of them.",
            Query(
                f"count(mirrord_last_run_timestamp_seconds{{{RULE}}} unless on ({BY_RULE}) "
                f"mirrord_last_success_timestamp_seconds{{{RULE}}}) or "
                f"0 * count(mirrord_last_run_timestamp_seconds{{{RULE}}})",
                is_now=True,
            ),
            unit="none",
            nothing="no run has left metrics",
            thresholds=steps((1, BAD)),
            mappings=words({0: ("none", GOOD)}),
        ),
        number(
            "Worst use of a promise",
            "The time since the last success as a share of what the rule promises, of the rule where that is largest: "
            "from 100 % on nobody can say that the promise is kept.",
            Query(
                f"max((time() - max by ({BY_RULE}) (mirrord_last_success_timestamp_seconds{{{RULE}}})) / "
                f"max by ({BY_RULE}) (mirrord_freshness_objective_seconds{{{RULE}}}))",
                is_now=True,
            ),
            unit="percentunit",
            nothing="no rule promises anything",
            thresholds=steps((0.8, NOTICE), (1, BAD)),
            decimals=0,
        ),
        number(
            "Last run",
            "The time since any rule ran to an end. Longer than the job's schedule: the job does not run, or its "
            "metrics do not arrive.",
            Query(f"time() - max(mirrord_last_run_timestamp_seconds{{{RULE}}})", is_now=True),
            unit="s",
            nothing="no run has left metrics",
            decimals=0,
        ),
        table(
            "Rules",
            "How the last run of each rule ended. A dash: the rule promises nothing, or never succeeded as far as the "
            "metrics know. The job's own log has the errors; `--report` leaves them with the job.",
            {
                "Result": of_rule(RESULT),
                "Not in sync": of_rule(f'sum by ({BY_RULE}) (mirrord_images{{{RULE}, state!="in_sync"}})'),
                "Images": of_rule(f"sum by ({BY_RULE}) (mirrord_images{{{RULE}}})"),
                "Since last success": of_rule(
                    f"time() - max by ({BY_RULE}) (mirrord_last_success_timestamp_seconds{{{RULE}}})"
                ),
                "Promise": of_rule(f"max by ({BY_RULE}) (mirrord_freshness_objective_seconds{{{RULE}}})"),
                "Since last run": of_rule(
                    f"time() - max by ({BY_RULE}) (mirrord_last_run_timestamp_seconds{{{RULE}}})"
                ),
                "Credential": of_rule(f"max by ({BY_RULE}) (mirrord_credential_refused{{{RULE}}})"),
                "Whole run took": of_rule(f"max by ({BY_RULE}) (mirrord_run_duration_seconds_sum{{{RULE}}})"),
            },
            labels={"rule": "Rule", "job": "Job", "instance": "Instance"},
            nothing="no run has left metrics",
            sort_by="Result",
            overrides=(
                by_name("Rule", {"custom.minWidth": 180}),
                cells("Result", "none", mappings=RESULTS),
                cells("Not in sync", "none", thresholds=steps((1, NOTICE))),
                cells("Images", "none"),
                cells("Since last success", "s", decimals=0),
                cells("Promise", "s", decimals=0),
                cells("Since last run", "s", decimals=0),
                cells("Credential", "none", mappings=words({0: ("accepted", GREY), 1: ("refused", BAD)})),
                cells("Whole run took", "s", decimals=1),
            ),
            links=(REMEDIES,),
        ),
    ),
)

FAILING: Final = Row(
    "What failed, and why?",
    (
        ranking(
            "Images that are not in sync",
            "Images (tags on targets) that the last runs left so, by rule and state.",
            Query(
                f'sum by (rule, state) (mirrord_images{{{RULE}, state!="in_sync"}}) > 0',
                "{{rule}}: {{state}}",
                is_now=True,
            ),
            unit="short",
            nothing="everything is in sync",
            thresholds=steps(first=NOTICE),
            links=(REMEDIES,),
            height=7,
        ),
        ranking(
            "Kept back, and wrong contents",
            "Changes that a policy did not let happen, and contents that were not what a registry promised and were "
            "not used, in the last runs.",
            Query(
                f"sum by (rule, reason) (mirrord_guard_refusals_total{{{RULE}}}) > 0 or "
                f"sum by (registry, reason) (mirrord_integrity_errors_total{{{ALL}}}) > 0",
                "{{rule}}{{registry}}: {{reason}}",
                is_now=True,
            ),
            unit="short",
            nothing="nothing was kept back, all contents were right",
            thresholds=steps(first=NOTICE),
            height=7,
        ),
        ranking(
            "Requests that failed or were sent again",
            "In the last runs, by registry: requests without an answer or with a `5xx`, and requests that were sent "
            "again.",
            Query(
                f'sum by (registry, code_class) (mirrord_requests_total{{{ALL}, code_class=~"5xx|none"}}) > 0 or '
                f"sum by (registry, reason) (mirrord_retries_total{{{ALL}}}) > 0",
                "{{registry}}: {{code_class}}{{reason}}",
                is_now=True,
            ),
            unit="short",
            nothing="no request failed",
            thresholds=steps(first=NOTICE),
            height=7,
        ),
    ),
)

DONE: Final = Row(
    "What did the last runs do?",
    (
        ranking(
            "Images",
            "Images (tags on targets) that were copied, kept back by a policy, or failed.",
            Query(
                f"sum by (rule, result) (mirrord_images_copied_total{{{RULE}}}) > 0",
                "{{rule}}: {{result}}",
                is_now=True,
            ),
            unit="short",
            nothing="no image was to be copied",
            height=7,
        ),
        ranking(
            "Bytes",
            "Bytes of blobs that were read and written, by registry, and those that were saved, by reason.",
            Query(f"sum by (registry) (mirrord_bytes_read_total{{{ALL}}}) > 0", "read from {{registry}}", is_now=True),
            Query(
                f"sum by (registry) (mirrord_bytes_written_total{{{ALL}}}) > 0", "written to {{registry}}", is_now=True
            ),
            Query(f"sum by (reason) (mirrord_bytes_saved_total{{{ALL}}}) > 0", "saved: {{reason}}", is_now=True),
            unit="bytes",
            nothing="no blob was needed",
            height=7,
        ),
        ranking(
            "Blobs",
            "Blobs that targets needed: `uploaded`, `mounted` from another repository, `existed` there already, "
            "`failed`.",
            Query(f"sum by (outcome) (mirrord_blobs_total{{{ALL}}}) > 0", "{{outcome}}", is_now=True),
            unit="short",
            nothing="no blob was needed",
            height=7,
        ),
    ),
)

REGISTRIES: Final = Row(
    "What did the registries say?",
    (
        table(
            "Registries",
            "How each registry got on with the last runs. Slow: of a hundred reading requests, 95 took no longer. "
            "Pauses: for how long it was left alone since it asked for that. Pulls left: where it counts them, with "
            "those that are kept for others (`quota.reserve`).",
            {
                "Requests": of_rule(f"sum by (registry) (mirrord_requests_total{{{ALL}}})"),
                "Slow": of_rule(
                    "histogram_quantile(0.95, sum by (le, registry) ("
                    f'mirrord_request_duration_seconds_bucket{{{ALL}, method=~"GET|HEAD"}}))'
                ),
                "Pauses": of_rule(f"sum by (registry) (mirrord_throttled_seconds_total{{{ALL}}})"),
                "Pulls left": of_rule(f"min by (registry) (mirrord_rate_limit_remaining{{{ALL}}})"),
                "Pulls kept": of_rule(f"max by (registry) (mirrord_rate_limit_reserve{{{ALL}}})"),
                "Pulls in all": of_rule(f"max by (registry) (mirrord_rate_limit_limit{{{ALL}}})"),
                "Left alone": of_rule(f"max by (registry) (mirrord_breaker_open{{{ALL}}})"),
            },
            labels={"registry": "Registry"},
            nothing="no run has left metrics",
            sort_by="Requests",
            overrides=(
                by_name("Registry", {"custom.minWidth": 180}),
                cells("Requests", "none"),
                cells("Slow", "s", thresholds=steps((1, NOTICE), (5, BAD), first=GREY)),
                cells("Pauses", "s", decimals=0),
                cells("Pulls left", "none"),
                cells("Pulls kept", "none"),
                cells("Pulls in all", "none"),
                cells("Left alone", "none", mappings=words({0: ("no", GREY), 1: ("yes", BAD)})),
            ),
            links=(read_more("Limits and quotas", "how-to/limit-rates-and-quotas.md"),),
            width=13,
            height=8,
        ),
        number(
            "Version",
            "The version of mirrord that ran. Several are shown one beside the other.",
            Query(f"count by (version) (mirrord_build_info{{{ALL}}})", "{{version}}", is_now=True),
            unit="none",
            nothing="no run has left metrics",
            shows="name",
            height=8,
        ),
        ranking(
            "Time of a copy",
            "How long nine of ten copies of an image to a target took at most in the last runs, by rule.",
            Query(
                "histogram_quantile(0.9, sum by (le, rule) ("
                f'mirrord_image_duration_seconds_bucket{{{RULE}, result="copied"}}))',
                "{{rule}}",
                is_now=True,
            ),
            unit="s",
            nothing="nothing was copied",
            decimals=1,
            width=7,
        ),
    ),
)

OVER_TIME: Final = Row(
    "How was it before?",
    (
        series(
            "Since the last success, by rule",
            "A saw: it falls with each success. What climbs above the others fails, or does not run.",
            Query(f"max by (rule) (time() - mirrord_last_success_timestamp_seconds{{{RULE}}})", "{{rule}}"),
            unit="s",
            nothing="no rule has succeeded",
        ),
        series(
            "Images not in sync, run by run",
            "What each run left that its targets do not serve as the source does, by state.",
            NOT_IN_SYNC,
            unit="short",
            nothing="everything was in sync",
            overrides=STATES,
            is_stacked=True,
        ),
        series(
            "Images copied, and served",
            "Images (tags on targets) that the last run copied, and that its targets served at its end.",
            Query(f'sum(mirrord_images_copied_total{{{RULE}, result="copied"}})', "copied"),
            Query(f'sum(mirrord_images{{{RULE}, state="in_sync"}})', "in sync"),
            Query(f"sum(mirrord_freshness_seconds{{{RULE}}} == bool 0)", "targets that serve everything"),
            unit="short",
            nothing="no run has left metrics",
            overrides=coloured(copied=BLUE, **{"in sync": GOOD, "targets that serve everything": GREY}),
        ),
    ),
)

ROWS: Final = (FRESH, FAILING, DONE, REGISTRIES, OVER_TIME)


def dashboard() -> Json:
    """Return the dashboard of single runs."""
    variables = [
        data_source(),
        chosen(
            "job",
            "Job",
            "As it was pushed, or that of node_exporter. Leave out the job of a running service: it has a dashboard.",
            "label_values(mirrord_last_run_timestamp_seconds, job)",
        ),
        chosen(
            "instance",
            "Instance",
            "The machine of the file, or what the push was grouped by; often there is none.",
            'label_values(mirrord_last_run_timestamp_seconds{job=~"$job"}, instance)',
            all_value=".*",
        ),
        chosen(
            "rule",
            "Rule",
            "Rules of the configuration. Panels about registries are of all rules.",
            f"label_values(mirrord_runs_total{{{ALL}}}, rule)",
            all_value=".*",
        ),
    ]
    ran = f"mirrord_last_run_timestamp_seconds{{{RULE}}} * 1000"
    failed = f'({ran}) and on ({BY_RULE}) (mirrord_runs_total{{{RULE}, result="failed"}} > 0)'
    annotations = [
        event(
            "Failed runs",
            "The moment at which a run ended with something failed.",
            failed,
            BAD,
            title="{{rule}} failed",
            tags="rule",
        ),
        event("Runs", "The moment at which a run ended.", ran, GREY, title="{{rule}} ran", tags="rule", is_on=False),
    ]
    about = "How the last single runs went: `mirrord sync --once` in CI or from cron."
    return whole(
        "mirrord-once",
        "mirrord: single runs",
        about,
        variables=variables,
        annotations=annotations,
        panels=place(ROWS),
        since="now-7d",
    )
