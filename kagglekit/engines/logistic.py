"""Regularised multinomial logistic regression for wide, correlated features, along a path of strengths.

N rows, D features, C classes. Minimises C * sum(log loss) + |W|^2 / 2, the bias not regularised, as
scikit-learn does. Plain L-BFGS needs hundreds of steps on features of a convolutional network, which
move together; here it works in coordinates where the Hessian's upper bound (Böhning 1992:
X'X / 2 for every class) is the identity, and needs about twenty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
_STEPS = 200
_TOLERANCE = 1e-6
"""Relative change of the mean objective at which a fit has converged."""


def softmax(scores: Floats) -> Floats:
    """(N, C) -> (N, C), rows sum to one."""
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return result


@dataclass(frozen=True)
class LogisticHead:
    """Standardise, then softmax of a linear map."""

    mean: Rows
    scale: Rows
    weights: Rows
    """(D, C)"""
    bias: Rows
    """(C,)"""
    chosen: str

    def probabilities(self, rows: Rows) -> Floats:
        """(N, D) -> (N, C)."""
        scores = ((rows - self.mean) / self.scale) @ self.weights + self.bias
        return softmax(scores.astype(np.float64))

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """All that is needed to predict."""
        return {"mean": self.mean, "scale": self.scale, "weights": self.weights, "bias": self.bias}


class LogisticFit:
    """Fits of the same rows at one strength after another; each starts where the last one ended."""

    def __init__(self, rows: Rows, labels: NDArray[np.int64], classes: int) -> None:
        """Standardise `rows` (N, D) and turn them into their principal coordinates, once for all strengths."""
        from scipy.linalg import eigh

        self._mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        # a feature that never changes says nothing: it must not be divided by zero
        self._scale = np.maximum(rows.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
        standard = (rows - self._mean) / self._scale
        curvature, self._axes = eigh(standard.T @ standard, driver="evd", overwrite_a=True, check_finite=False)
        self._curvature = np.maximum(curvature.astype(np.float64), 0.0)  # (D,)
        self._rows = standard @ self._axes  # (N, D)
        self._truth = np.eye(classes, dtype=np.float32)[labels]  # (N, C)
        self._weights = np.zeros((rows.shape[1], classes))  # in principal coordinates
        self._bias = np.zeros(classes)

    def at(self, strength: float) -> LogisticHead:
        """Fit at one inverse regularisation strength."""
        from scipy.optimize import minimize

        features, classes = self._weights.shape
        count = len(self._rows)
        unit = 1 / np.sqrt(strength * self._curvature / 2 + 1)[:, None]  # (D, 1)
        bias_unit = 1 / np.sqrt(strength * count / 2)

        def objective(parameters: Floats) -> tuple[float, Floats]:
            scaled = parameters.reshape(features + 1, classes)
            weights, bias = scaled[:-1] * unit, scaled[-1] * bias_unit
            loss, residual = self._loss(weights, bias)
            gradient = np.empty_like(scaled)
            gradient[:-1] = unit * (strength * (self._rows.T @ residual) + weights)
            gradient[-1] = bias_unit * strength * residual.sum(axis=0)
            value = strength * loss + float((weights**2).sum()) / 2
            return value / (strength * count), gradient.ravel() / (strength * count)

        start = np.vstack([self._weights / unit, self._bias / bias_unit]).ravel()
        options = {"maxiter": _STEPS, "ftol": _TOLERANCE, "gtol": 0.0, "maxcor": 6}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        scaled = found.x.reshape(features + 1, classes)
        self._weights, self._bias = scaled[:-1] * unit, scaled[-1] * bias_unit
        weights = (self._axes @ self._weights).astype(np.float32)
        return LogisticHead(self._mean, self._scale, weights, self._bias.astype(np.float32), f"C {strength:g}")

    def _loss(self, weights: Floats, bias: Floats) -> tuple[float, Rows]:
        """Return the summed log loss, and its derivative by the scores (N, C)."""
        scores = self._rows @ weights.astype(np.float32) + bias.astype(np.float32)  # (N, C)
        scores -= scores.max(axis=1, keepdims=True)
        right = (scores * self._truth).sum(axis=1, dtype=np.float64)
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0], dtype=np.float64) - right).sum())
        scores /= total
        scores -= self._truth
        return loss, scores
