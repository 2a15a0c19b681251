"""Ctrl-C: print one line that says how to resume, and exit within a second.

Finished work is on disk already, as whole files, so nothing needs cleaning up. Only training first finishes its step
and saves (`deferred`); a second Ctrl-C exits without waiting for that.
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

from kagglekit.base import streams

QUIET = "KAGGLEKIT_QUIET_INTERRUPT"
"""Environment variable of processes that leave the message to the process that started them."""
EXIT_CODE = 130
"""Exit code that shells report for a command ended by Ctrl-C."""
_GRACE = 0.6
"""Seconds to save; then the process ends, even inside a library that ignores signals."""
_GRACE_OF_A_STEP = 60.0
"""The same when a training step is finished and saved first."""


class Interrupted(BaseException):
    """Ctrl-C was pressed; not a KeyboardInterrupt, which some libraries catch."""


@contextmanager
def ending_promptly() -> Iterator[None]:
    """Raise Interrupted in the block on Ctrl-C, and end the process if that is not enough."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, signals = socket.socketpair()  # a socket, since Windows accepts no pipe here
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
    """Yield a function that returns whether Ctrl-C was pressed; the block must call it, since nothing is raised."""
    _pressed.clear()
    _deferring.set()
    try:
        yield _pressed.is_set
    finally:
        _deferring.clear()
    if _pressed.is_set():  # after the block's last check
        raise Interrupted


_deferring = threading.Event()
_pressed = threading.Event()


def _raise(_number: int, _frame: FrameType | None) -> None:
    if _deferring.is_set():
        _pressed.set()
    else:
        raise Interrupted


def _watch(signals: socket.socket) -> None:
    """Wait for Ctrl-C in a thread: the main thread may be inside a library, where Python's handlers don't run."""
    with signals:
        if not _next_is_interrupt(signals):
            return
        with suppress(OSError, ValueError, streams.ReaderGone):
            _announce()
        # a second Ctrl-C ends it at once
        signals.settimeout(_GRACE_OF_A_STEP if _deferring.is_set() else _GRACE)
        with suppress(TimeoutError):
            _next_is_interrupt(signals)
        end()


def _next_is_interrupt(signals: socket.socket) -> bool:
    """Wait for Ctrl-C and return True; return False when the block has ended."""
    while received := signals.recv(1):
        if received[0] == signal.SIGINT:
            return True
    return False


def also_say(*what: str) -> None:
    """Let the message on Ctrl-C end with this from now on."""
    _kept[:] = what


_kept: list[str] = []
_first = threading.Lock()
_announced = threading.Event()


def _announce() -> None:
    """Print the message once, from whichever thread comes first; the other one waits."""
    import shlex

    with _first:
        if not _announced.is_set() and QUIET not in os.environ and os.environ.get("RANK", "0") == "0":
            command = shlex.join(["kagglekit", *sys.argv[1:]])
            said = "; ".join(("interrupted", f"finished work is kept: `{command}` resumes", *_kept))
            _announced.set()
            sys.stderr.write(f"\nkagglekit: {said}.\n")
            sys.stderr.flush()


def end() -> NoReturn:
    """End the process without waiting for its threads."""
    with suppress(OSError, ValueError, streams.ReaderGone):  # Ctrl-C may have ended the reader of our output
        _announce()
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a progress bar hides the cursor
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(EXIT_CODE)
