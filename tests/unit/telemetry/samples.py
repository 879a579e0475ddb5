"""Metrics as Prometheus would read them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from mirrord.telemetry.metrics import Metrics

Samples = dict[str, dict[tuple[str, ...], float]]


def read(metrics: Metrics) -> Samples:
    """Return every sample: by name, then by the values of its labels in the order of their names' definition."""
    return parse(metrics.expose(None)[0].decode())


def parse(text: str) -> Samples:
    """Return the samples of a text; labels in alphabetical order of their names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def total(samples: dict[tuple[str, ...], float], *labels: str) -> float:
    """Return the sum of the samples that have all these values among their labels."""
    return sum(value for known, value in samples.items() if set(labels) <= set(known))
