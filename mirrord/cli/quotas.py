"""Pulls that registries count, as text and as JSON: what was spent, or would be, and what is left."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from mirrord.cli.units import count_text
from mirrord.planning.report import PullQuota, TrafficReport, window_text

Json = dict[str, object]


def spent_lines(traffic: TrafficReport) -> Iterable[Text]:
    """Yield, for each registry that counts pulls, what a run spent and what is left; nothing where none counts."""
    for host in metered_hosts(traffic):
        quota = traffic.quotas.get(host)
        spent = count_text(traffic.pulls.get(host, 0), "pull")
        yield Text(f"{host}: {spent} spent, {left_text(quota) if quota is not None else 'of which no limit is told'}")


def needed_lines(traffic: TrafficReport, *, complete: bool) -> Iterable[Text]:
    """Yield what a plan needs of each registry that counts pulls, and whether there are enough of them.

    Args:
        traffic: what planning cost. It reads the same manifests as the run, each once: what it spent is what is needed.
        complete: whether every image could be planned; else more are needed.
    """
    for host in metered_hosts(traffic):
        needed, quota = traffic.pulls.get(host, 0), traffic.quotas.get(host)
        least = "" if complete else "at least "
        count = count_text(needed, "pull")
        rest = left_text(quota) if quota is not None else "of which no limit is told"
        none = "no pulls needed" if complete else "how many pulls are needed could not be found out"
        told = f"{least}{count} needed, as many as this plan spent" if needed else none
        yield Text(f"{host}: {told}; {rest}")
        if quota is not None and needed > quota.free:
            above = f" above the reserve of {quota.reserve:,}" if quota.reserve else ""
            text = f"warning: {host}: {least}{count} are needed, and only {quota.free:,} are left{above}"
            yield Text(f"{text}; the other images wait for the next window", style="yellow")


def left_text(quota: PullQuota) -> str:
    """Return what is left of a quota: ``77 of 100 left in 6 h, 20 reserved``."""
    of = f" of {quota.limit:,}" if quota.limit is not None else ""
    window = f" in {window_text(quota.window_s)}" if quota.window_s is not None else ""
    reserved = f", {quota.reserve:,} reserved" if quota.reserve else ""
    return f"{quota.remaining:,}{of} left{window}{reserved}"


def pulls_json(traffic: TrafficReport, key: str) -> Json:
    """Return pulls and quota by registry, the count of pulls under ``key``; what is not told is null."""
    found: Json = {}
    for host in metered_hosts(traffic):
        quota = traffic.quotas.get(host)
        found[host] = {
            key: traffic.pulls.get(host, 0),
            "limit": quota.limit if quota is not None else None,
            "remaining": quota.remaining if quota is not None else None,
            "window_seconds": quota.window_s if quota is not None else None,
            "reserve": quota.reserve if quota is not None else None,
        }
    return found


def metered_hosts(traffic: TrafficReport) -> list[str]:
    """Return the registries that count pulls, as far as they were asked for manifests."""
    return sorted(traffic.pulls.keys() | traffic.quotas.keys())
