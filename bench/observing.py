"""What a running service tells of itself: its runs, collected while they happen, and its counters."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from urllib.parse import quote

from prometheus_client.parser import text_string_to_metric_families

from bench.judging import Run, read_run

TIMEOUT_S = 10
PAGE = 100
MOST_PAGES = 50


class Observer:
    """Asks a service over HTTP.

    Args:
        url: where it listens.
        token: its API's bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.runs: dict[str, Run] = {}
        self._url = url
        self._token = token

    def is_ready(self) -> bool:
        """Say whether it answers and is ready."""
        try:
            self._get("/readyz")
        except OSError:
            return False
        return True

    def status(self) -> Mapping[str, object]:
        """Return how everything stands."""
        return self._json("/api/v1/status")

    def collect(self) -> None:
        """Learn of the runs that began or ended since the last call; a service forgets old ones."""
        after = ""
        for _ in range(MOST_PAGES):
            page = self._json(f"/api/v1/runs?limit={PAGE}{after}")
            values = page["runs"]
            assert isinstance(values, list)
            found = [read_run(value) for value in values]
            if not sum(map(self._take, found)) or page["next"] is None:
                break
            after = f"&after={quote(str(page['next']))}"
        for run in [run for run in self.runs.values() if run.finished is None]:
            self._take(read_run(self._json(f"/api/v1/runs/{quote(run.id)}")))

    def counter(self, name: str, label: str) -> dict[str, int]:
        """Return a counter of the metrics, added up by one of its labels."""
        text = self._get("/metrics").decode()
        sums: dict[str, int] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name:
                    key = sample.labels[label]
                    sums[key] = sums.get(key, 0) + int(sample.value)
        return sums

    def _take(self, run: Run) -> bool:
        """Remember a run, and say whether it was unknown, or not known to have ended."""
        known = self.runs.get(run.id)
        self.runs[run.id] = run
        return known is None or known.finished is None

    def _json(self, path: str) -> Mapping[str, object]:
        document = json.loads(self._get(path))
        assert isinstance(document, dict)
        return document

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(self._url + path, headers={"Authorization": f"Bearer {self._token}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
        return content
