"""Output of commands: rich on a terminal, plain lines when piped, and all of it in the run's log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from kagglekit.base import streams

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress

Advance = Callable[[int], None]
_PIPED_WIDTH = 160
_PLAIN_INTERVAL = 10.0
"""Seconds between progress lines when the output is piped."""


class Console:
    """Prints lines, tables and progress, and writes the same text without colours to the log."""

    def __init__(self, file: TextIO | None = None) -> None:
        """Print to `file`, by default the standard output."""
        self._file = file or sys.stdout
        self._rich: RichConsole | None = None
        self._pending: list[str] = []
        self._log: TextIO | None = None

    @property
    def rich(self) -> RichConsole:
        """The rich console, created at first use."""
        if self._rich is None:
            from rich.console import Console as RichConsole

            # don't wrap piped output at eighty columns
            width = None if self._file.isatty() else _PIPED_WIDTH
            self._rich = RichConsole(file=self._file, highlight=False, emoji=False, width=width)
        return self._rich

    @contextmanager
    def logging_to(self, path: Path) -> Iterator[None]:
        """Log all output to `path`, earlier lines included, and any error that ends the block."""
        with path.open("a", encoding="utf-8", errors=streams.READABLE, buffering=1) as log:
            self._log = log
            log.writelines(self._pending)
            self._pending.clear()
            try:
                yield
            except BaseException as error:
                self._record(f"ended by {type(error).__name__}: {error}")
                raise
            finally:
                self._log = None

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        text = _harmless(text)
        self.rich.print(text, style=style or None, markup=False, soft_wrap=True)
        self._record(text)

    def warn(self, text: str) -> None:
        """Print a warning line."""
        self.say(f"WARNING: {text}", style="bold yellow")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; columns whose heading starts with `>` are aligned right.

        The first column, and those whose heading starts with `>>`, are never wrapped.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title, rows = _harmless(title), [[_harmless(cell) for cell in row] for row in rows]
        headed = any(column.strip(">") for column in columns)
        table = Table(
            title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD if headed else box.SIMPLE
        )
        table.show_header = headed
        for index, column in enumerate(columns):
            whole = index == 0 or column.startswith(">>")
            justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
            table.add_column(Text(column.lstrip(">")), justify=justify, no_wrap=whole, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.rich.print(table)
        self._record(f"{title}: " + "; ".join(" | ".join(row) for row in rows))

    @contextmanager
    def progress(self, task: str, total: int | Callable[[], int], unit: str) -> Iterator[Advance]:
        """Show the progress of a task of `total` units, with its rate and the time left.

        A total that may change is a function.
        """
        started = time.monotonic()
        done = 0
        with self._bar(task, total if callable(total) else lambda: total, unit) as show:

            def advance(count: int) -> None:
                nonlocal done
                done += count
                show(done)

            yield advance
        if done:
            seconds = max(time.monotonic() - started, 1e-9)
            line = f"{task}: {_amount(done, unit)} in {seconds:.1f} s ({_amount(done / seconds, unit)}/s)"
            self.say(line)

    @contextmanager
    def _bar(self, task: str, total: Callable[[], int], unit: str) -> Iterator[Callable[[int], None]]:
        if not self.rich.is_terminal:
            yield self._plain_bar(task, total, unit)
            return
        with _rich_progress(self.rich, unit) as progress:
            bar = progress.add_task(task, total=total() or None)
            yield lambda done: progress.update(bar, completed=done, total=total() or None)

    def _plain_bar(self, task: str, total: Callable[[], int], unit: str) -> Callable[[int], None]:
        started = spoken = time.monotonic()

        def show(done: int) -> None:
            nonlocal spoken
            now = time.monotonic()
            if now - spoken >= _PLAIN_INTERVAL and 0 < done < total():
                spoken = now
                rate = done / (now - started)
                left = (total() - done) / rate
                self.say(
                    f"{task}: {_amount(done, unit)} of {_amount(total(), unit)}, "
                    f"{_amount(rate, unit)}/s, {left:.0f} s left"
                )

        return show

    def _record(self, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
        if self._log is not None:
            self._log.write(line)
        else:
            self._pending.append(line)


_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), 127), "�")
"""Control characters, except tab and newline."""


def _harmless(text: str) -> str:
    """Replace control characters and bytes that are not UTF-8: file names may contain them."""
    return text.translate(_CONTROLS).encode(errors=streams.READABLE).decode()


def _rich_progress(console: RichConsole, unit: str) -> Progress:
    from rich import progress as bars
    from rich.text import Text

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> Text:
            return Text(f"{_amount(task.speed, unit)}/s" if task.speed else "")

    amount: bars.ProgressColumn = bars.DownloadColumn() if unit == "B" else bars.MofNCompleteColumn()
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        amount,
        Rate(),
        bars.TimeRemainingColumn(),
    )
    return bars.Progress(*columns, console=console, transient=True)


def _amount(count: float, unit: str) -> str:
    if unit != "B":
        return f"{count:.0f} {unit}" if count >= 10 or count == int(count) else f"{count:.1f} {unit}"
    return f"{count / 1e6:.1f} MB"
