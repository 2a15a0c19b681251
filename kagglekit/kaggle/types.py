"""Kaggle's answers as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A submission as Kaggle reports it."""

    reference: int
    date: str
    """Time of arrival, in UTC."""
    file: str
    message: str
    status: str
    """PENDING, COMPLETE or ERROR."""
    public_score: float | None
    private_score: float | None
    reason: str
    """Reason why Kaggle could not score the file."""

    @classmethod
    def of(cls, sent: Any, shown: Callable[[object], str]) -> Submission:
        """Convert an object of the official client. `shown` makes its texts printable."""
        return cls(
            reference=sent.ref,
            date="" if sent.date is None else sent.date.isoformat(timespec="seconds") + "Z",
            file=shown(sent.file_name or ""),
            message=shown(sent.description or ""),
            status=sent.status.name,
            public_score=_number(sent.public_score),
            private_score=_number(sent.private_score),
            reason=shown(sent.error_description or ""),
        )


def _number(score: str | None) -> float | None:
    try:
        return float(score) if score else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Limits:
    """The numbers of submissions made and left."""

    today: int
    total: int
    left: int
    """Submissions left for the rest of the UTC day."""
    for_ever: bool
    """Whether the limit is that of the whole competition, not of the day."""

    @property
    def why_none(self) -> str:
        """Reason why nothing can be submitted now; empty if something can, or if that is unknown (no team yet)."""
        if self.left > 0 or self.total == 0:
            return ""
        if self.for_ever:
            return f"no submissions are left, today or later ({self.total} used)"
        return f"0 submissions are left today ({self.today} used; the count resets at 00:00 UTC)"
