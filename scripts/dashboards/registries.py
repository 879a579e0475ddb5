"""What do the registries say? What did deduplication save?"""

from __future__ import annotations

from typing import Final

from scripts.dashboards.freshness import ALL
from scripts.dashboards.panels import counts, number, ranking, series, states
from scripts.dashboards.parts import (
    BAD,
    BLUE,
    DEEP_BLUE,
    GOOD,
    GREY,
    NOTICE,
    PURPLE,
    Query,
    Row,
    coloured,
    counted,
    dashed,
    read_more,
    steps,
    words,
)
from scripts.dashboards.work import REGISTRY

TARGET: Final = f'{ALL}, target=~"$registry"'

CLASSES: Final = coloured(**{"2xx": GOOD, "3xx": BLUE, "4xx": NOTICE, "5xx": BAD, "none": GREY})
LIMITS: Final = read_more("Limits and quotas", "how-to/limit-rates-and-quotas.md")


def time_to(methods: str) -> tuple[Query, Query]:
    """Return how long 95 of 100 requests of these methods take, by registry, and half of all of them together."""
    buckets = f'mirrord_request_duration_seconds_bucket{{{REGISTRY}, method=~"{methods}"}}[$__rate_interval]'
    return (
        Query(f"histogram_quantile(0.95, sum by (le, registry) (rate({buckets})))", "{{registry}}"),
        Query(f"histogram_quantile(0.5, sum by (le) (rate({buckets})))", "half of all"),
    )


REGISTRIES: Final = Row(
    "What do the registries say?",
    (
        series(
            "Requests",
            "HTTP requests a second, to each registry and to what it redirects to. Idle rules ask little; a jump "
            "without a change at the source is a filter or schedule that was widened.",
            Query(f"sum by (registry) (rate(mirrord_requests_total{{{REGISTRY}}}[$__rate_interval]))", "{{registry}}"),
            unit="reqps",
            nothing="no registry",
        ),
        series(
            "Answers",
            "How requests ended. `4xx` has those that ask for a token (401), those for what is not there yet (404), "
            "and those that are throttled (429); `5xx` is a registry in trouble, `none` one that does not answer.",
            Query(
                f"sum by (code_class) (rate(mirrord_requests_total{{{REGISTRY}}}[$__rate_interval])) "
                f"and on (code_class) (sum by (code_class) (increase(mirrord_requests_total{{{REGISTRY}}}"
                "[$__range] @ end())) > 0)",
                "{{code_class}}",
            ),
            unit="reqps",
            nothing="no request",
            overrides=CLASSES,
            is_stacked=True,
        ),
        series(
            "Requests that failed",
            "The share of requests that the registry could not answer, `5xx` or no answer at all, where there were any "
            "in the time range. A few are retried and hurt nobody; from one in ten on, things become slow, and then "
            "the registry is left alone for a while.",
            Query(
                f'sum by (registry) (rate(mirrord_requests_total{{{REGISTRY}, code_class=~"5xx|none"}}'
                f"[$__rate_interval])) / (sum by (registry) (rate(mirrord_requests_total{{{REGISTRY}}}"
                "[$__rate_interval])) > 0) and on (registry) (sum by (registry) (increase("
                f'mirrord_requests_total{{{REGISTRY}, code_class=~"5xx|none"}}[$__range] @ end())) > 0)',
                "{{registry}}",
            ),
            unit="percentunit",
            nothing="no request failed",
            thresholds=steps((0.1, BAD), first=BLUE),
            top=0.12,
            links=(read_more("Troubleshooting", "troubleshooting.md"),),
        ),
        series(
            "Time to answer (GET, HEAD)",
            "How long registries take until the head of their answer: half of the requests take no longer than the one "
            "line, 95 of 100 no longer than the other. Seconds here, with few requests, are a slow registry or "
            "network.",
            *time_to("GET|HEAD"),
            overrides=(dashed("/^half of all$/"),),
            unit="s",
            nothing="no request",
        ),
        series(
            "Time of uploads (POST, PUT, PATCH)",
            "How long requests take that write, with their whole body: the size of the blobs is in it. 95 of 100 take "
            "no longer than the line of the registry, half of all no longer than the dashed one.",
            *time_to("POST|PUT|PATCH"),
            overrides=(dashed("/^half of all$/"),),
            unit="s",
            nothing="no upload",
        ),
        counts(
            "Requests sent again",
            "Requests that failed in passing and were sent again. `rate_limited`: the registry asked for patience. "
            "`unavailable`: no answer, or one that says try later. Many of them are the reason why runs take long.",
            Query(
                counted("registry, reason", f"mirrord_retries_total{{{REGISTRY}}}") + " > 0",
                "{{registry}}: {{reason}}",
            ),
            nothing="no request was sent again",
            links=(LIMITS,),
        ),
        number(
            "Least of a quota left",
            "What is left for mirrord of the pulls of a window, for the registry where that is least, as it said last: "
            "without those that `quota.reserve` keeps for others. At nothing images wait: log in, take fewer tags, or "
            "use a mirror. Docker Hub tells; other registries are asked where `quota.reserve` is set.",
            Query(
                f"clamp_min(min((mirrord_rate_limit_remaining{{{REGISTRY}}} - mirrord_rate_limit_reserve{{{REGISTRY}}})"
                f" / (mirrord_rate_limit_limit{{{REGISTRY}}} > 0)), 0)",
                is_now=True,
            ),
            unit="percentunit",
            nothing="no registry counts pulls",
            thresholds=steps((0.1, NOTICE), (0.25, GOOD), first=BAD),
            decimals=0,
            links=(LIMITS,),
            height=8,
        ),
        series(
            "Pulls left",
            "Pulls that a registry leaves in its window, as it said last, how many there are in all, and how many are "
            "kept for others (dashed). Others behind the same address or account pull too.",
            Query(f"min by (registry) (mirrord_rate_limit_remaining{{{REGISTRY}}})", "{{registry}}: left"),
            Query(f"max by (registry) (mirrord_rate_limit_limit{{{REGISTRY}}})", "{{registry}}: in all"),
            Query(f"max by (registry) (mirrord_rate_limit_reserve{{{REGISTRY}}}) > 0", "{{registry}}: kept"),
            unit="short",
            nothing="no registry counts pulls",
            overrides=(dashed("/: (in all|kept)$/"),),
            links=(LIMITS,),
            width=7,
            calcs=("lastNotNull", "min"),
        ),
        counts(
            "Throttled",
            "Seconds for which a registry was left alone since it asked for that (429), or pulls waited for its quota; "
            "a pause counts when it begins. More than a fifth of the time for long: ask less, or for a larger quota.",
            Query(counted("registry", f"mirrord_throttled_seconds_total{{{REGISTRY}}}") + " > 0", "{{registry}}"),
            unit="s",
            nothing="no registry asked for patience",
            links=(LIMITS,),
            width=6,
        ),
        states(
            "When registries were left alone",
            "When a registry kept failing and was left alone, but for a probe now and then. Rules that need it fail "
            "meanwhile.",
            Query(f"max by (registry) (mirrord_breaker_open{{{REGISTRY}}})", "{{registry}}"),
            nothing="no registry",
            mappings=words({0: ("asked", GOOD), 1: ("left alone", BAD)}),
            width=7,
        ),
    ),
)

SAVED: Final = Row(
    "What did deduplication save?",
    (
        number(
            "Not sent",
            "Bytes of blobs in the chosen time range that targets needed and that were not sent, since they had them "
            "or took them from another repository.",
            Query(
                f'sum(increase(mirrord_bytes_saved_total{{{TARGET}, reason=~"existed|mounted"}}[$__range]))',
                is_now=True,
            ),
            unit="bytes",
            nothing="no target",
            width=6,
        ),
        number(
            "Share not sent",
            "Of the bytes that targets needed in the chosen time range: how many were not sent. New repositories and "
            "new base images lower it; near nothing all the time, targets forget what they have.",
            Query(
                f'sum(increase(mirrord_bytes_saved_total{{{TARGET}, reason=~"existed|mounted"}}[$__range])) / (sum('
                f'increase(mirrord_bytes_saved_total{{{TARGET}, reason=~"existed|mounted"}}[$__range])) + sum('
                f"increase(mirrord_bytes_written_total{{{REGISTRY}}}[$__range])))",
                is_now=True,
            ),
            unit="percentunit",
            nothing="no target",
            mappings=words({}, not_a_number="nothing was needed"),
            decimals=0,
            width=6,
        ),
        number(
            "Not read again",
            "Bytes of blobs in the chosen time range that were sent to a further target from the same read: what the "
            "sources were spared.",
            Query(f'sum(increase(mirrord_bytes_saved_total{{{TARGET}, reason="fanout"}}[$__range]))', is_now=True),
            unit="bytes",
            nothing="no target",
            width=6,
        ),
        number(
            "Sent",
            "Bytes of blobs that were uploaded in the chosen time range.",
            Query(f"sum(increase(mirrord_bytes_written_total{{{REGISTRY}}}[$__range]))", is_now=True),
            unit="bytes",
            nothing="no target",
            width=6,
        ),
        counts(
            "Blobs, by how they came there",
            "Blobs that targets needed: `uploaded`, `mounted` from another repository of the same registry, `existed` "
            "there already, `failed`.",
            Query(counted("outcome", f"mirrord_blobs_total{{{TARGET}}}"), "{{outcome}}"),
            nothing="no target",
            overrides=coloured(uploaded=DEEP_BLUE, mounted=BLUE, existed=GOOD, failed=BAD),
        ),
        series(
            "Saved, by reason",
            "Bytes a second that were not sent, since the target had them (`existed`) or took them from another "
            "repository (`mounted`), or were sent but not read again (`fanout`).",
            Query(f"sum by (reason) (rate(mirrord_bytes_saved_total{{{TARGET}}}[$__rate_interval]))", "{{reason}}"),
            unit="binBps",
            nothing="no target",
            overrides=coloured(existed=GOOD, mounted=BLUE, fanout=PURPLE),
            is_stacked=True,
        ),
        ranking(
            "Saved, by target",
            "Bytes in the chosen time range that were not sent to a target or not read again for it. A target that has "
            "nothing here though it shares layers with others may refuse mounts: see the page on its kind.",
            Query(
                f"sum by (target) (increase(mirrord_bytes_saved_total{{{TARGET}}}[$__range]))",
                "{{target}}",
                is_now=True,
            ),
            unit="bytes",
            nothing="no target",
            links=(read_more("Kinds of registries", "registries/README.md"),),
        ),
    ),
)
