"""Retries of failed requests."""

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
"""Number of attempts per request."""
PATIENCE = 300.0
"""Longest wait in seconds that Kaggle may ask for. For longer ones, the command gives up with an error."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the second attempt, and the longest pause. Each pause is twice as long as the one before."""
_PASSING = frozenset({408, 425, 429})
"""Temporary status codes below 500."""


def sleep(seconds: float) -> None:
    """Wait. A separate function, so that tests can replace it."""
    time.sleep(seconds)


def patiently(ask: Callable[[], Answer], say: Say, attempts: int) -> Answer:
    """Return the result of `ask`, retrying temporary errors. Raises the last exception of `requests`."""
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
            say(f"{reason(error)}: retrying in {pause:.0f} s")
            sleep(pause)
    raise AssertionError("itertools.count ends nowhere")


def may_pass(error: Any) -> bool:
    """Return whether an exception of `requests` may be temporary: a busy server, a bad connection, a time-out."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in _PASSING or error.response.status_code >= 500
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def is_refusal(error: Any) -> bool:
    """Return whether an exception of `requests` means that Kaggle received the request and did nothing."""
    import requests

    if not isinstance(error, requests.HTTPError) or error.response is None:
        return False
    return 400 <= error.response.status_code < 500 and not may_pass(error)


def wait_after(response: Any, attempt: int) -> float:
    """Return the seconds to wait after an attempt (from 1): Retry-After if given, else exponential backoff."""
    requested = None if response is None else _seconds(response.headers.get("Retry-After", ""))
    return min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) if requested is None else requested


def _seconds(header: str) -> float | None:
    """Return the seconds of a Retry-After header, which is a number or a date; None for anything else."""
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    return max((until.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)


def reason(error: Any) -> str:
    """Return a short reason why a request failed. The text of the error could reveal addresses with keys."""
    import requests

    if error.response is not None:
        code = error.response.status_code
        return "Kaggle limits the rate (429)" if code == 429 else f"Kaggle has a problem ({code})"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy blocks Kaggle"
    if isinstance(error, requests.exceptions.SSLError):
        return "the secure connection to Kaggle failed"
    if isinstance(error, requests.Timeout):
        return "Kaggle did not answer in time"
    return "Kaggle can't be reached"
