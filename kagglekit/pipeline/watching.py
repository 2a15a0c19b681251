"""What is told of a run while it goes on, so that one that is not worth its time can be ended."""

from __future__ import annotations

from kagglekit.base.shortlists import Wide
from kagglekit.tasks.task import Truth


class Watcher:
    """Listens to a run. Whatever it raises ends the run, which the same command resumes."""

    def epoch(self, model: str, epoch: str, loss: float, error: float) -> None:
        """Note the validation loss of a model after an epoch, and its standard error."""

    def fold(self, number: int, truth: Truth, predictions: Wide) -> None:
        """Note the predictions of a fold's images (N, C), before finishing."""
