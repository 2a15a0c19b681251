"""Losses by the final activation of the network: those of the task, which training lowers.

B images per batch, C columns of the target. Labels are class indices, (B,), or rows of goals, (B, C).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from kagglekit.base.arrays import Floats
from kagglekit.tasks.activations import Standardised
from kagglekit.tasks.task import HUBER

if TYPE_CHECKING:
    import torch

    from kagglekit.tasks.task import Task


class Loss(ABC):
    """The loss of scores (B, C) towards goals (B, C)."""

    smooths: ClassVar[bool] = True
    """Whether label smoothing has an effect."""

    def __init__(self, task: Task, smoothing: float, weights: Floats | None) -> None:
        self.columns = len(task.columns)
        self.smoothing = smoothing
        self._weights = weights

    def weights(self, scores: torch.Tensor) -> torch.Tensor | None:
        """Return what multiplies the loss where a column is true, (C,), on the device of the scores."""
        return None if self._weights is None else scores.new_tensor(self._weights)

    @abstractmethod
    def goals(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the goals of labels, with label smoothing (Szegedy et al. 2016), (B, C)."""

    @abstractmethod
    def total(self, scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """Return the sum over the images of each one's loss."""

    def blank(self, count: int) -> torch.Tensor:
        """Return labels of so many images, for a step that only takes memory or time."""
        import torch

        return torch.zeros((count, self.columns))


class CrossEntropy(Loss):
    """Of softmax: cross-entropy."""

    def goals(self, labels: torch.Tensor) -> torch.Tensor:
        """Return one-hot rows, or the given ones, of which a share is spread over all classes, (B, C)."""
        from torch.nn.functional import one_hot

        rows = one_hot(labels, self.columns).float() if labels.ndim == 1 else labels
        return rows * (1 - self.smoothing) + self.smoothing / self.columns

    def total(self, scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """Return the sum of the cross-entropies."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(scores, goals, self.weights(scores), reduction="sum")

    def blank(self, count: int) -> torch.Tensor:
        """Return so many times the first class."""
        import torch

        return torch.zeros(count, dtype=torch.int64)


class BinaryCrossEntropy(Loss):
    """Of sigmoid: binary cross-entropy, mean over the columns."""

    def goals(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels, a share of the way to one half, (B, C)."""
        return labels * (1 - self.smoothing) + self.smoothing / 2

    def total(self, scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """Return the sum of the binary cross-entropies."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        weights = self.weights(scores)
        return binary_cross_entropy_with_logits(scores, goals, pos_weight=weights, reduction="sum") / self.columns


class SquaredError(Loss):
    """Of standardised numbers: squared error, mean over the columns."""

    smooths = False

    def __init__(self, task: Task, smoothing: float, weights: Floats | None) -> None:
        super().__init__(task, smoothing, weights)
        assert isinstance(task.network_activation, Standardised)
        self._activation = task.network_activation

    def goals(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the standardised numbers, (B, C)."""
        means, scales = labels.new_tensor(self._activation.means), labels.new_tensor(self._activation.scales)
        return (labels - means) / scales

    def total(self, scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """Return the sum of the squared errors; an unknown goal, NaN, has none."""
        goals = goals.where(~goals.isnan(), scores.detach())
        return ((scores - goals) ** 2).sum() / self.columns


class HuberError(SquaredError):
    """Of standardised numbers: twice Huber's loss, mean over the columns."""

    def total(self, scores: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
        """Return the sum of the losses; an unknown goal, NaN, has none."""
        from torch.nn.functional import huber_loss

        goals = goals.where(~goals.isnan(), scores.detach())
        return 2 * huber_loss(scores, goals, reduction="sum", delta=HUBER) / self.columns


_LOSSES: dict[str, type[Loss]] = {
    "softmax": CrossEntropy,
    "sigmoid": BinaryCrossEntropy,
    "standardised": SquaredError,
}


def of(task: Task, smoothing: float = 0.0, weights: Floats | None = None) -> Loss:
    """Return the loss of a task. `weights` (C,) multiply it where a column is true."""
    kind = HuberError if task.absolute else _LOSSES[task.network_activation.name]
    return kind(task, smoothing, weights)
