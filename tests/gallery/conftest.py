"""Shared by the gallery's tests."""

from __future__ import annotations

import pytest

from kagglekit.competitions.synthetic import pictures, subjects
from tests.test_drawn_layouts import dull


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let kagglekit draw few images, on which nothing can be seen."""
    monkeypatch.setattr(pictures, "draw", dull)
    monkeypatch.setattr(subjects, "TRAIN_IMAGES", 24)
