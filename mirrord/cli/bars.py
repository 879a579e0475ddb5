"""How live progress looks: the figures of a run as bars."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mirrord.cli.units import clock_text, count_text, size_text
from mirrord.sync.activity import Activity, Rate, Transfer

MOST_BARS = 8
_BAR_WIDTH = 24
_LONGEST_NAME = 36
_WIDE = 90
_FIGURES = 40


def bars(activity: Activity, rate: Rate, *, width: int, height: int) -> RenderableType:
    """Return the bars of a run, on fewer lines than the terminal is high.

    Where ``width`` is too narrow for everything, the figures stay and the bars go.
    """
    now = activity.now()
    table = Table.grid(padding=(0, 1))
    bar_width = _BAR_WIDTH if width >= _WIDE else 0
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=None if bar_width else max(8, width - _FIGURES))
    table.add_column(no_wrap=True, max_width=bar_width)
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right")
    speed = rate.measure(now, activity.read_bytes)
    table.add_row(
        Text("images", style="bold"),
        _bar(activity.done, activity.total, bar_width),
        Text(f"{activity.done:,}/{activity.total:,}"),
        Text(f"{size_text(speed)}/s", style="cyan"),
        Text(clock_text(activity.elapsed_s), style="dim"),
    )
    transfers = list(activity.transfers.values())
    shown = transfers[: max(1, min(MOST_BARS, height - 4))]
    for transfer in shown:
        _add_transfer(table, transfer, now, bar_width)
    lines: list[RenderableType] = [table]
    note = _note(activity, len(transfers) - len(shown))
    if note.plain:
        lines.append(note)
    return Group(*lines)


def _add_transfer(table: Table, transfer: Transfer, now: float, bar_width: int) -> None:
    speed = transfer.rate.measure(now, transfer.done)
    left_s = (transfer.size - transfer.done) / speed if speed > 0 else None
    table.add_row(
        Text(_name(transfer)),
        _bar(transfer.done, transfer.size, bar_width),
        Text(f"{size_text(transfer.done)}/{size_text(transfer.size)}"),
        Text(f"{size_text(speed)}/s", style="cyan"),
        Text(clock_text(left_s) if left_s is not None else "-:--", style="dim"),
    )


def _name(transfer: Transfer) -> str:
    place = str(transfer.source)
    if len(place) > _LONGEST_NAME:
        place = f"...{place[3 - _LONGEST_NAME :]}"
    targets = f" x{len(transfer.targets)}" if len(transfer.targets) > 1 else ""
    return f"{transfer.digest.short} {place}{targets}"


def _note(activity: Activity, hidden: int) -> Text:
    parts = []
    if hidden:
        parts.append((f"{count_text(hidden, 'more transfer')}", "dim"))
    if not activity.total:
        looked = count_text(activity.images_seen, "image")
        parts.append((f"looking at {count_text(activity.rules, 'rule')}, {looked} so far", "dim"))
    if activity.failed:
        parts.append((f"{activity.failed:,} failed", "red"))
    return Text("; ").join(Text(text, style=style) for text, style in parts)


def _bar(done: int, total: int, width: int) -> RenderableType:
    if not width:
        return ""
    # A total of nothing would show as full.
    return ProgressBar(
        total=max(total, 1), completed=min(done, total), width=width, complete_style="cyan", finished_style="green"
    )
