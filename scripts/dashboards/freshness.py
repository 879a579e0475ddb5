"""Is the mirror fresh?"""

from __future__ import annotations

from typing import Final

from scripts.dashboards.panels import cells, number, series, states, table
from scripts.dashboards.parts import (
    BAD,
    BLUE,
    GOOD,
    NOTICE,
    OF_CELL,
    OF_SERIES,
    Query,
    Row,
    by_name,
    read_more,
    steps,
    words,
)

ALL: Final = 'job=~"$job", instance=~"$instance"'
RULE: Final = f'{ALL}, rule=~"$rule"'

FRESH: Final = words({1: ("fresh", GOOD), 0: ("behind", BAD)})
PROMISE: Final = read_more("What a promise is", "how-to/run-as-a-service.md")
METRICS: Final = read_more("What the metrics mean", "reference/metrics.md#images-and-freshness")

USE: Final = (
    f"(mirrord_freshness_seconds{{{RULE}}} / on (job, instance, rule) group_left () "
    f"mirrord_freshness_objective_seconds{{{RULE}}}) "
    f"or ((1 - mirrord_fresh{{{RULE}}}) and on (job, instance, rule) mirrord_freshness_objective_seconds{{{RULE}}})"
)
"""How much of a promise is used up, by target, and 1 for a rule that broke it without an age, for want of a source."""

NUMBERS: Final = (
    number(
        "Service",
        "Whether Prometheus reaches every chosen instance. While one is down, all that is said below of its rules is "
        "missing or old: begin here.",
        Query(f"min(up{{{ALL}}})", is_now=True),
        unit="none",
        nothing="Prometheus scrapes no mirrord",
        thresholds=steps((1, GOOD), first=BAD),
        mappings=words({1: ("up", GOOD), 0: ("down", BAD)}),
    ),
    number(
        "Rules behind",
        "Rules that do not keep their promise or, where they make none, are not in sync; also those whose source could "
        "not be seen for longer than the promise. None is good. Else: which ones, in the table below.",
        Query(f"sum(1 - mirrord_fresh{{{RULE}}})", is_now=True),
        unit="none",
        nothing="no rule",
        thresholds=steps((1, BAD)),
        mappings=words({0: ("none", GOOD)}),
    ),
    number(
        "Images in sync",
        "The share of the selected images (tags on targets) that their targets serve as the source does. What is "
        "missing from 100 % is in the row on what fails, by state.",
        Query(f'sum(mirrord_images{{{RULE}, state="in_sync"}}) / sum(mirrord_images{{{RULE}}})', is_now=True),
        unit="percentunit",
        nothing="no rule",
        thresholds=steps((0.99, NOTICE), (1, GOOD), first=BAD),
        mappings=words({}, not_a_number="no image yet"),
        decimals=1,
    ),
    number(
        "Worst use of a promise",
        "How much of its promise the rule has used up that is nearest to breaking it, or furthest beyond: at 100 % the "
        "promise is broken, as it is for a source that cannot be seen. A rule that stays above 80 % needs a denser "
        "schedule or a longer promise.",
        Query(f"max({USE})", is_now=True),
        unit="percentunit",
        nothing="no rule promises anything",
        thresholds=steps((0.8, NOTICE), (1, BAD)),
        links=(PROMISE,),
        decimals=0,
    ),
    number(
        "Oldest change not served",
        "For how long the change waits that waits longest: a tag that moved or appeared at the source and that some "
        "target does not serve yet.",
        Query(f"max(mirrord_freshness_seconds{{{RULE}}})", is_now=True),
        unit="s",
        nothing="no source was seen yet",
        mappings=words({0: ("none", GOOD)}),
        decimals=0,
    ),
    number(
        "Longest without success",
        "The time since the last run with everything in sync, of the rule for which that is longest; for one that "
        "never succeeded, since the start of the service. Compare it with the schedule of the rule, in the table "
        "below.",
        Query(
            f"max(time() - (mirrord_last_success_timestamp_seconds{{{RULE}}} or on (job, instance, rule) "
            f"(0 * mirrord_fresh{{{RULE}}} + on (job, instance) group_left () process_start_time_seconds{{{ALL}}})))",
            is_now=True,
        ),
        unit="s",
        nothing="no rule",
        decimals=0,
    ),
)

RULES: Final = table(
    "Rules",
    "Each rule as it stands now, those that are behind first. A dash: the rule promises nothing, never succeeded, or "
    "has no schedule. A negative time to the next run is by how much it is late. Click a name for the rule's images "
    "and the reasons on the status page; its address is the variable at the top.",
    {
        "Fresh": Query(f"min by (instance, rule) (mirrord_fresh{{{RULE}}})", is_now=True),
        "Behind": Query(f"max by (instance, rule) (mirrord_freshness_seconds{{{RULE}}})", is_now=True),
        "Promise": Query(f"max by (instance, rule) (mirrord_freshness_objective_seconds{{{RULE}}})", is_now=True),
        "Not in sync": Query(f'sum by (instance, rule) (mirrord_images{{{RULE}, state!="in_sync"}})', is_now=True),
        "Images": Query(f"sum by (instance, rule) (mirrord_images{{{RULE}}})", is_now=True),
        "Failed in a row": Query(f"max by (instance, rule) (mirrord_failed_runs{{{RULE}}})", is_now=True),
        "Since last success": Query(
            f"time() - max by (instance, rule) (mirrord_last_success_timestamp_seconds{{{RULE}}})", is_now=True
        ),
        "Since last run": Query(
            f"time() - max by (instance, rule) (mirrord_last_run_timestamp_seconds{{{RULE}}})", is_now=True
        ),
        "To next run": Query(
            f"min by (instance, rule) (mirrord_next_run_timestamp_seconds{{{RULE}}}) - time()", is_now=True
        ),
        "Interval": Query(f"max by (instance, rule) (mirrord_schedule_interval_seconds{{{RULE}}})", is_now=True),
    },
    labels={"rule": "Rule", "instance": "Instance"},
    nothing="no rule",
    sort_by="Fresh",
    is_descending=False,
    overrides=(
        by_name("Rule", {"links": [OF_CELL], "custom.minWidth": 180}),
        cells("Fresh", "none", mappings=FRESH),
        cells("Behind", "s", decimals=0),
        cells("Promise", "s", decimals=0),
        cells("Not in sync", "none", thresholds=steps((1, NOTICE))),
        cells("Images", "none"),
        cells("Failed in a row", "none", thresholds=steps((1, NOTICE), (3, BAD))),
        cells("Since last success", "s", decimals=0),
        cells("Since last run", "s", decimals=0),
        cells("To next run", "s", decimals=0),
        cells("Interval", "s", decimals=0),
    ),
    links=(METRICS,),
)

BEHIND: Final = series(
    "Behind, by rule",
    "The age of the oldest change that a target of the rule does not serve yet. A line that climbs and falls back is a "
    "mirror at work; one that only climbs is a rule that gets nowhere: look at what fails. Rules that serve everything "
    "have no line.",
    Query(f"max by (rule) (mirrord_freshness_seconds{{{RULE}}}) > 0", "{{rule}}"),
    unit="s",
    nothing="no rule is behind",
    calcs=("max",),
    data_links=(OF_SERIES,),
)

USED: Final = series(
    "Promise used, by rule",
    "The age of the oldest change that is not served, as a share of what the rule promises. Above the upper line the "
    "promise is broken; a source that cannot be seen for longer is drawn at 100 %. Rules that promise nothing, or "
    "serve everything, have no line.",
    Query(f"max by (rule) ({USE}) > 0", "{{rule}}"),
    unit="percentunit",
    nothing="no rule uses up its promise",
    calcs=("max",),
    thresholds=steps((0.8, NOTICE), (1, BAD), first=BLUE),
    top=1.1,
    data_links=(OF_SERIES,),
    links=(PROMISE,),
)

KEPT: Final = states(
    "When promises were broken",
    "Each rule that broke its promise at some time in the range, and when. What flickers is a promise that is about as "
    "long as the schedule and a run together: give it more room. Rules that promise nothing are not here.",
    Query(
        f"min by (rule) (mirrord_fresh{{{RULE}}} and on (job, instance, rule) "
        f"mirrord_freshness_objective_seconds{{{RULE}}}) and on (rule) "
        f"(min by (rule) (min_over_time(mirrord_fresh{{{RULE}}}[$__range] @ end())) == 0)",
        "{{rule}}",
    ),
    nothing="no promise was broken",
    mappings=words({1: ("kept", GOOD), 0: ("broken", BAD)}),
    data_links=(OF_SERIES,),
    links=(PROMISE,),
    width=8,
)

ROW: Final = Row("Is the mirror fresh?", (*NUMBERS, RULES, BEHIND, USED, KEPT))
