"""When a question that failed is asked again, and after how long: never in a hurry, and never for ever."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Say = Callable[[str], None]

ATTEMPTS = 5
"""Times that a question is asked."""
PATIENCE = 300.0
"""Seconds beyond which Kaggle's own wish to wait is handed on to the user."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the second attempt, and most of them; each pause is twice as long as the one before."""
_PASSING = frozenset({408, 425, 429})
"""Answers below 500 that may be another one in a moment."""


def sleep(seconds: float) -> None:
    """Wait; a name of its own, so that tests need not."""
    time.sleep(seconds)


def patiently(ask: Callable[[], Answer], say: Say, attempts: int) -> Answer:
    """Return what `ask` returns; where trouble may pass, ask again. Raises the last error of requests."""
    import requests

    for attempt in itertools.count(1):
        try:
            return ask()
        except requests.RequestException as error:
            if error.response is not None:
                error.response.close()
            pause = wait_after(error.response, attempt)
            if attempt == attempts or not may_pass(error) or pause > PATIENCE:
                raise
            say(f"{reason(error)}: asking again in {pause:.0f} s")
            sleep(pause)
    raise AssertionError("itertools.count ends nowhere")


def may_pass(error: Any) -> bool:
    """Say whether an error of requests may be gone in a moment: a busy server, a bad line, no answer in time."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _PASSING or error.response.status_code >= 500
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def is_refusal(error: Any) -> bool:
    """Say whether an error of requests means that Kaggle has heard the question, and has done nothing."""
    import requests

    if not isinstance(error, requests.HTTPError) or error.response is None:
        return False
    return 400 <= error.response.status_code < 500 and not may_pass(error)


def wait_after(response: Any, attempt: int) -> float:
    """Return the seconds to wait after the given attempt (from 1): what the response asks for, or ever more."""
    asked = None if response is None else _seconds(response.headers.get("Retry-After", ""))
    return min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) if asked is None else asked


def _seconds(header: str) -> float | None:
    """Return what Retry-After means, a number of seconds or a date; None for neither."""
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    return max((until.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def reason(error: Any) -> str:
    """Return in a few words why a question failed: never the error's own text, which has addresses with keys in."""
    import requests

    if error.response is not None:
        code = error.response.status_code
        return "Kaggle limits the rate (429)" if code == 429 else f"Kaggle has trouble ({code})"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let Kaggle through"
    if isinstance(error, requests.exceptions.SSLError):
        return "the secure connection to Kaggle failed"
    if isinstance(error, requests.Timeout):
        return "Kaggle does not answer in time"
    return "Kaggle can't be reached"
