"""Ctrl-C: one line that says how to go on, and the end within a second, whatever is going on.

Everything that is finished lies on disk as whole files already, so that nothing needs to be tidied up. Only training
first finishes its step and saves (`deferred`); a second Ctrl-C does not wait for that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

QUIET = "KAGGLEKIT_QUIET_INTERRUPT"
"""Environment variable of processes whose interruption another one speaks of."""
EXIT_CODE = 130
"""What shells report for a command ended by Ctrl-C."""
_GRACE = 0.6
"""Seconds in which the command may save what it has; then it ends, even inside a library that does not listen."""
_GRACE_OF_A_STEP = 60.0
"""The same where a step of training is finished and saved first."""


class Interrupted(BaseException):
    """Ctrl-C was pressed; no KeyboardInterrupt, which libraries turn into messages of their own."""


@contextmanager
def ending_promptly() -> Iterator[None]:
    """Raise Interrupted in the block on Ctrl-C, and end the process if that is not enough."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, signals = socket.socketpair()  # Windows has no pipes here
    signals.setblocking(False)
    handler = signal.signal(signal.SIGINT, _raise)
    before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, handler)
        signals.close()  # ends the thread


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C was pressed; in the block nothing is raised: it ends by itself."""
    _pressed.clear()
    _deferring.set()
    try:
        yield _pressed.is_set
    finally:
        _deferring.clear()
    if _pressed.is_set():  # after the block had asked for the last time
        raise Interrupted


_deferring = threading.Event()
_pressed = threading.Event()


def _raise(_number: int, _frame: FrameType | None) -> None:
    if _deferring.is_set():
        _pressed.set()
    else:
        raise Interrupted


def _watch(signals: socket.socket) -> None:
    """Wait for Ctrl-C in a thread: the main one may be deep in a library, where Python's handlers don't run."""
    with signals:
        if not _next_is_interrupt(signals):
            return
        with suppress(OSError, ValueError):
            _announce()
        # a second Ctrl-C ends it at once
        signals.settimeout(_GRACE_OF_A_STEP if _deferring.is_set() else _GRACE)
        with suppress(TimeoutError):
            _next_is_interrupt(signals)
        end()


def _next_is_interrupt(signals: socket.socket) -> bool:
    """Wait for a signal; False when the block has ended."""
    while received := signals.recv(1):
        if received[0] == signal.SIGINT:
            return True
    return False


_first = threading.Lock()
_announced = threading.Event()


def _announce() -> None:
    """Say it once, whichever thread comes first; the other one waits until it is said."""
    import shlex

    with _first:
        if not _announced.is_set() and QUIET not in os.environ and os.environ.get("RANK", "0") == "0":
            command = shlex.join(["kagglekit", *sys.argv[1:]])
            _announced.set()
            sys.stderr.write(f"\nkagglekit: interrupted; what is finished is kept: `{command}` goes on from there.\n")
            sys.stderr.flush()


def end() -> NoReturn:
    """End the process without waiting for its threads."""
    with suppress(OSError, ValueError):  # Ctrl-C may have ended those who read what we write
        _announce()
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a progress bar hides the cursor
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(EXIT_CODE)
