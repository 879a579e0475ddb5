from __future__ import annotations

from pathlib import Path

import pytest

from mirrord.cli.execution import run_rules
from mirrord.cli.progress import Silence
from mirrord.oci.reference import Reference
from mirrord.planning.target import TargetTemplate
from mirrord.ports.events import Event, EventSink
from mirrord.sync.copy import image_rule


class Fault(EventSink):
    """Breaks a promise: it raises."""

    def emit(self, event: Event) -> None:
        raise RuntimeError("the listener broke")


def test_run_that_broke_reports_what_broke_it(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its report is written as any other: a file that says nothing of the fault would be taken for a good run."""
    rule = image_rule(
        Reference.parse("oci:source:1"), TargetTemplate.parse("oci:target:1"), platforms=(), referrers=True
    )

    report, code = run_rules([rule], {}, progress=Silence(), events=Fault())

    assert code == 1
    assert report.interrupted
    broken = report.rules[-1]
    assert (broken.label, [problem.code for problem in broken.problems]) == ("mirrord", ["INTERNAL_ERROR"])
    assert "error: INTERNAL_ERROR: RuntimeError: the listener broke" in capsys.readouterr().err
