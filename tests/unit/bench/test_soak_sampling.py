from __future__ import annotations

import csv
import os
import socket
import threading
from itertools import count
from pathlib import Path

import pytest

from bench.sampling import Sample, Sampler, look, trends

NOTHING = Sample(seconds=0, rss=0, anonymous=0, descriptors=0, sockets=0, connections=0, threads=1, cpu_s=0, state=0)


def test_process_is_seen_with_its_sockets_threads_and_memory(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"x" * 100)
    before = look(os.getpid())
    release = threading.Event()
    waiting = threading.Thread(target=release.wait)
    waiting.start()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted, client:
            after = look(os.getpid(), seconds=1.5, state_files=[tmp_path / "state.db", tmp_path / "missing"])
    release.set()
    waiting.join()

    assert after.sockets - before.sockets == 3
    assert after.connections - before.connections == 2, "both ends are ours, and the listener is no connection"
    assert after.descriptors - before.descriptors == 3
    assert after.threads - before.threads == 1
    assert after.rss > 1 << 20
    assert 0 < after.anonymous <= after.rss
    assert after.cpu_s >= before.cpu_s > 0
    assert (after.seconds, after.state) == (1.5, 100)


def test_name_of_a_program_may_look_like_further_fields(tmp_path: Path) -> None:
    process = tmp_path / "7"
    (process / "fd").mkdir(parents=True)
    (process / "status").write_text("Name:\ta) R 1\nVmRSS:\t  8 kB\nRssAnon:\t  4 kB\nThreads:\t3\n")
    fields = ["S", *["0"] * 10, "250", "50", *["0"] * 10]
    (process / "stat").write_text(f"7 (a) R 1) {' '.join(fields)}\n")

    sample = look(7, proc=tmp_path)

    assert (sample.rss, sample.anonymous, sample.threads) == (8192, 4096, 3)
    assert sample.cpu_s == pytest.approx(300 / os.sysconf("SC_CLK_TCK"))


def test_process_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        look(7, proc=tmp_path)


def test_samples_stand_in_the_file_as_soon_as_they_are_taken(tmp_path: Path) -> None:
    """A soak that breaks leaves what it saw."""
    enough = threading.Event()
    numbers = count()

    def take(seconds: float) -> Sample:
        number = next(numbers)
        if number == 2:
            enough.set()
        return NOTHING._replace(rss=number)

    with Sampler(take, tmp_path / "samples.csv", every_s=0) as sampler:
        assert enough.wait(10)

    with (tmp_path / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rss"]) for row in rows] == [sample.rss for sample in sampler.samples]
    assert len(rows) >= 3
    assert sampler.failure is None


def test_sampler_ends_when_the_process_is_gone(tmp_path: Path) -> None:
    gone = FileNotFoundError("gone")

    def take(seconds: float) -> Sample:
        raise gone

    with Sampler(take, tmp_path / "samples.csv", every_s=0) as sampler:
        pass

    assert sampler.failure is gone
    assert sampler.samples == []


def test_trend_compares_the_time_after_the_warm_up_with_the_end() -> None:
    samples = [
        NOTHING._replace(
            seconds=second,
            rss=5_000_000 if second < 10 else 100_000_000 + second * 1000,
            descriptors=20,
            cpu_s=second * 0.25,
        )
        for second in range(101)
    ]

    found = {trend.name: trend for trend in trends(samples)}

    assert found["rss"].baseline == pytest.approx(100_020_000)
    assert found["rss"].end == pytest.approx(100_090_000)
    assert found["rss"].most == 100_100_000
    assert found["rss"].slope == pytest.approx(3_600_000)
    assert found["rss"].growth == pytest.approx(0.0007, abs=0.0001)
    assert (found["descriptors"].baseline, found["descriptors"].end, found["descriptors"].slope) == (20, 20, 0)
    assert found["cpu"].baseline == pytest.approx(0.25)
    assert found["cpu"].end == pytest.approx(0.25)


def test_few_samples_have_no_trend() -> None:
    assert trends([NOTHING] * 9) == []
