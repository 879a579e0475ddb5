"""What is moving? What is failing, and why?"""

from __future__ import annotations

from typing import Final

from scripts.dashboards.freshness import ALL, RULE
from scripts.dashboards.panels import cells, counts, number, ranking, series, states, table
from scripts.dashboards.parts import (
    BAD,
    BLUE,
    DEEP_BLUE,
    GOOD,
    GREY,
    NOTICE,
    OF_CELL,
    OF_SERIES,
    PURPLE,
    REPOSITORY,
    Query,
    Row,
    by_name,
    coloured,
    counted,
    read_more,
    steps,
    words,
)

REGISTRY: Final = f'{ALL}, registry=~"$registry"'

WENT: Final = coloured(copied=GOOD, blocked=NOTICE, failed=BAD, ok=GOOD, refused=NOTICE, interrupted=GREY)
STATES: Final = coloured(out_of_sync=BLUE, copying=DEEP_BLUE, waiting=GREY, blocked=NOTICE, failed=BAD, stalled=PURPLE)
REMEDIES: Final = read_more("Errors, and what to do", "reference/errors.md")
TROUBLE: Final = read_more("Troubleshooting", "troubleshooting.md")

NOT_IN_SYNC: Final = Query(
    f'sum by (state) (mirrord_images{{{RULE}, state!="in_sync"}}) and on (state) '
    f'(sum by (state) (max_over_time(mirrord_images{{{RULE}, state!="in_sync"}}[$__range] @ end())) > 0)',
    "{{state}}",
)
"""States that there were in the time range: what is stacked must not have holes."""

RUNBOOKS: Final = {
    "title": "Runbooks",
    "url": f"{REPOSITORY.replace('/blob/', '/tree/')}/runbooks",
    "targetBlank": True,
}

MOVING: Final = Row(
    "What is moving?",
    (
        series(
            "Read from registries",
            "Bytes of blobs a second that mirrord reads, from registries that were read in the time range. Nothing is "
            "well while nothing changes at the sources. Where it is lower than the line allows while much waits: look "
            "at throttling, and at `bandwidth`.",
            Query(
                f"sum by (registry) (rate(mirrord_bytes_read_total{{{REGISTRY}}}[$__rate_interval])) and on (registry) "
                f"(sum by (registry) (increase(mirrord_bytes_read_total{{{REGISTRY}}}[$__range] @ end())) > 0)",
                "{{registry}}",
            ),
            unit="binBps",
            nothing="nothing was read",
        ),
        series(
            "Written to registries",
            "Bytes of blobs a second that targets took, of those that took any in the time range. Less than was read "
            "is a failure or a loss; more is one read that feeds several targets.",
            Query(
                f"sum by (registry) (rate(mirrord_bytes_written_total{{{REGISTRY}}}[$__rate_interval])) "
                "and on (registry) "
                f"(sum by (registry) (increase(mirrord_bytes_written_total{{{REGISTRY}}}[$__range] @ end())) > 0)",
                "{{registry}}",
            ),
            unit="binBps",
            nothing="nothing was written",
        ),
        series(
            "Transfers in flight",
            "Most transfers of blobs at a time that involved the registry; one between two registries is in both "
            "lines. A line that stays at a level while nothing is read or written is a registry that hangs.",
            Query(
                f"sum by (registry) (max_over_time(mirrord_transfers_in_flight{{{REGISTRY}}}[$__rate_interval])) > 0",
                "{{registry}}",
            ),
            unit="short",
            nothing="nothing was under way",
        ),
        counts(
            "Images",
            "Images (tags on targets) that were copied, kept back by a policy, or failed. Those that fail or are kept "
            "back again in each run count again.",
            Query(counted("result", f"mirrord_images_copied_total{{{RULE}}}"), "{{result}}"),
            nothing="no rule",
            overrides=WENT,
        ),
        series(
            "Time of a copy",
            "How long an image takes to a target, all its tags together: half of them take no longer than the lower "
            "line, nine of ten no longer than the upper. Without copies there is no line.",
            Query(
                "histogram_quantile(0.5, sum by (le) (rate("
                f'mirrord_image_duration_seconds_bucket{{{RULE}, result="copied"}}[$__rate_interval])))',
                "half",
            ),
            Query(
                "histogram_quantile(0.9, sum by (le) (rate("
                f'mirrord_image_duration_seconds_bucket{{{RULE}, result="copied"}}[$__rate_interval])))',
                "nine of ten",
            ),
            unit="s",
            nothing="nothing was copied",
            overrides=coloured(half=BLUE, **{"nine of ten": DEEP_BLUE}),
        ),
        series(
            "Waiting",
            "Images that are copied now, images that wait to be, and rules that wait to begin. Rules that wait for "
            "long wait for another that writes what they read.",
            Query(
                f'sum(max_over_time(mirrord_images{{{RULE}, state="copying"}}[$__rate_interval]))',
                "images being copied",
            ),
            Query(f'sum(mirrord_images{{{RULE}, state=~"out_of_sync|waiting"}})', "images that wait"),
            Query(f"sum(mirrord_queue_depth{{{ALL}}})", "rules that wait to begin"),
            unit="short",
            nothing="no rule",
            overrides=coloured(
                **{"images being copied": DEEP_BLUE, "images that wait": BLUE, "rules that wait to begin": PURPLE}
            ),
        ),
    ),
)

PERSON: Final = table(
    "Images that need somebody",
    "Images (tags on targets) that failed, stalled, or are kept back by a policy, now. Failed ones are tried again in "
    "the next run; stalled ones fail again and again; blocked ones wait until the policy or the tag changes. Click the "
    "rule for each image with its error and the remedy.",
    {
        "Images": Query(
            f'sum by (instance, rule, target, state) (mirrord_images{{{RULE}, state=~"failed|blocked|stalled"}}) > 0',
            is_now=True,
        )
    },
    labels={"rule": "Rule", "target": "Target", "state": "State", "instance": "Instance"},
    nothing="nothing failed, stalled or is blocked",
    sort_by="Images",
    overrides=(
        by_name("Rule", {"links": [OF_CELL], "custom.minWidth": 160}),
        cells("Images", "none", thresholds=steps(first=BAD)),
    ),
    links=(REMEDIES,),
    width=12,
    height=8,
)

ALERTS: Final = table(
    "Alerts that fire",
    "Alerts on mirrord that fire now, if Prometheus has the rules of grafana/alerts. What each means and what to do is "
    "in its runbook.",
    {
        "Alerts": Query(
            "count by (alertname, severity, rule, registry) "
            '(ALERTS{job=~"$job|", alertname=~"Mirrord.+", alertstate="firing"})',
            is_now=True,
        )
    },
    labels={"alertname": "Alert", "severity": "Severity", "rule": "Rule", "registry": "Registry"},
    nothing="no alert fires, or the rules are not loaded",
    sort_by="Severity",
    is_descending=False,
    overrides=(by_name("Rule", {"links": [OF_CELL]}), by_name("Alerts", {"custom.hidden": True})),
    links=(RUNBOOKS,),
    width=12,
    height=8,
)

FAILING: Final = Row(
    "What is failing, and why?",
    (
        number(
            "Failed runs",
            "Runs that ended with something failed, in the chosen time range. The first failure of each is on the "
            "status page, and all of them are in the log.",
            Query(f'sum(increase(mirrord_runs_total{{{RULE}, result="failed"}}[$__range]))', is_now=True),
            unit="none",
            nothing="no rule",
            thresholds=steps((0.5, BAD)),
            mappings=words({0: ("none", GOOD)}),
            decimals=0,
            links=(TROUBLE,),
        ),
        number(
            "Images failed or stalled",
            "Images (tags on targets) that could not be copied and are not served, now.",
            Query(f'sum(mirrord_images{{{RULE}, state=~"failed|stalled"}})', is_now=True),
            unit="none",
            nothing="no rule",
            thresholds=steps((1, BAD)),
            mappings=words({0: ("none", GOOD)}),
            links=(REMEDIES,),
        ),
        number(
            "Images kept back",
            "Images (tags on targets) that a policy of the rule keeps from being changed, now: `immutable_tags`, "
            "`overwrite: false`, `on_rollback: block`. Somebody moved a tag that was not to move; find out who.",
            Query(f'sum(mirrord_images{{{RULE}, state="blocked"}})', is_now=True),
            unit="none",
            nothing="no rule",
            thresholds=steps((1, NOTICE)),
            mappings=words({0: ("none", GOOD)}),
        ),
        number(
            "Wrong contents",
            "Contents in the chosen time range that were not what a registry promised: another digest or size, or a "
            "tag that serves something else than was put. They were not used. Any at all is a broken registry, proxy "
            "or disk, or an attack.",
            Query(f"sum(increase(mirrord_integrity_errors_total{{{ALL}}}[$__range]))", is_now=True),
            unit="none",
            nothing="no registry",
            thresholds=steps((0.5, BAD)),
            mappings=words({0: ("none", GOOD)}),
            decimals=0,
        ),
        number(
            "Moments missed",
            "Moments of schedules in the chosen time range without a run of their own, since the service was not there "
            "or the rule still ran. The panel below says which rules.",
            Query(f"sum(increase(mirrord_schedule_skipped_total{{{RULE}}}[$__range]))", is_now=True),
            unit="none",
            nothing="no rule",
            thresholds=steps((0.5, NOTICE)),
            mappings=words({0: ("none", GOOD)}),
            decimals=0,
        ),
        number(
            "Registries left alone",
            "Registries that keep failing and are left alone but for a probe now and then, now. Rules that need them "
            "fail or wait; the others go on.",
            Query(f"sum(max by (registry) (mirrord_breaker_open{{{ALL}}}))", is_now=True),
            unit="none",
            nothing="no registry",
            thresholds=steps((1, BAD)),
            mappings=words({0: ("none", GOOD)}),
        ),
        PERSON,
        ALERTS,
        series(
            "Images that are not in sync",
            "Images (tags on targets) that targets do not serve as the source does, by state. `out_of_sync`, `copying` "
            "and `waiting` pass by themselves; `failed`, `stalled` and `blocked` are for somebody.",
            NOT_IN_SYNC,
            unit="short",
            nothing="everything is in sync",
            overrides=STATES,
            is_stacked=True,
        ),
        counts(
            "Runs, by how they ended",
            "`failed`: at least one image failed. `refused`: a policy kept something back. `interrupted`: the service "
            "ended meanwhile.",
            Query(counted("result", f"mirrord_runs_total{{{RULE}}}"), "{{result}}"),
            nothing="no rule",
            overrides=WENT,
        ),
        counts(
            "Failed images, by rule",
            "Images (tags on targets) that failed. A rule that is there all the time fails for a lasting reason: "
            "credentials, a missing repository, a registry that is down. Click it for the errors.",
            Query(
                counted("rule", f'mirrord_images_copied_total{{{RULE}, result="failed"}}') + " > 0",
                "{{rule}}",
            ),
            nothing="no image failed",
            data_links=(OF_SERIES,),
            links=(REMEDIES,),
        ),
        counts(
            "Changes that policies kept back",
            "`immutable`: a tag that is never to move moved at the source. `overwrite`: the target has a tag that the "
            "rule may not replace. `rollback`: a tag went back to an older digest.",
            Query(
                counted("rule, reason", f"mirrord_guard_refusals_total{{{RULE}}}") + " > 0",
                "{{rule}}: {{reason}}",
            ),
            nothing="no policy kept anything back",
            data_links=(OF_SERIES,),
        ),
        counts(
            "Wrong contents, by registry",
            "Contents that were not what the registry promised; they were not used. `digest`, `size`: what was read. "
            "`read_back`: a tag at the target served something else than was put: somebody else writes there too.",
            Query(
                counted("registry, reason", f"mirrord_integrity_errors_total{{{REGISTRY}}}") + " > 0",
                "{{registry}}: {{reason}}",
            ),
            nothing="all contents were right",
        ),
        counts(
            "Moments of schedules that were missed",
            "`overlap`: the rule still ran; it takes longer than its schedule. `missed`: the service was not there, or "
            "the clock jumped. `draining`: it was about to end.",
            Query(
                counted("rule, reason", f"mirrord_schedule_skipped_total{{{RULE}}}") + " > 0",
                "{{rule}}: {{reason}}",
            ),
            nothing="no moment was missed",
            data_links=(OF_SERIES,),
            links=(read_more("Schedules", "reference/schedules.md"),),
        ),
        series(
            "Failed runs one after another",
            "How many runs of a rule failed one after another, up to then. Up to two is a passing failure; more is a "
            "lasting one: somebody has to look. Rules that do not fail have no line.",
            Query(f"max by (rule) (mirrord_failed_runs{{{RULE}}}) > 0", "{{rule}}"),
            unit="short",
            nothing="no rule fails",
            calcs=("max",),
            data_links=(OF_SERIES,),
            links=(TROUBLE,),
        ),
        states(
            "When credentials were refused",
            "Each rule whose runs failed at some time in the range since a registry refused its credential, or since "
            "there was none. Mend the secret: it is read anew, nothing needs a restart.",
            Query(
                f"max by (rule) (mirrord_credential_refused{{{RULE}}}) and on (rule) "
                f"(max by (rule) (max_over_time(mirrord_credential_refused{{{RULE}}}[$__range] @ end())) == 1)",
                "{{rule}}",
            ),
            nothing="no credential was refused",
            mappings=words({0: ("accepted", GOOD), 1: ("refused", BAD)}),
            data_links=(OF_SERIES,),
            links=(read_more("Private registries", "how-to/use-a-private-registry.md"),),
            width=8,
        ),
        ranking(
            "Slowest rules",
            "The mean time of a run in the chosen time range, for the ten slowest. It is to be well below the rule's "
            "schedule.",
            Query(
                f"topk(10, sum by (rule) (increase(mirrord_run_duration_seconds_sum{{{RULE}}}[$__range])) / "
                f"(sum by (rule) (increase(mirrord_run_duration_seconds_count{{{RULE}}}[$__range])) > 0))",
                "{{rule}}",
                is_now=True,
            ),
            unit="s",
            nothing="no rule ran",
            data_links=(OF_SERIES,),
            decimals=1,
        ),
    ),
)
