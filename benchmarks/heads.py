"""The fit of a logistic head against scikit-learn's L-BFGS: time and objective.

Both minimise C * sum(log loss) + |W|^2 / 2 on the same standardised rows in single precision: features of State Farm's
training images in two views, or random correlated features if the archive is missing. Our time includes standardising
and decomposing the rows, which a run does once for all inner folds; scikit-learn gets standardised rows. It is timed
with its default tolerance, and with the loosest one that reaches an objective as low as ours.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from benchmarks.timing import machine, ratio, rounds, seconds
from kagglekit.base.arrays import Floats, Floats32, Labels
from kagglekit.base.console import Console
from kagglekit.competitions import plugins
from kagglekit.data import archives
from kagglekit.heads.features import FeatureEngine
from kagglekit.heads.layers import Head
from kagglekit.heads.linear import LinearPaths
from kagglekit.heads.linear_rows import LinearRows
from kagglekit.heads.losses import CrossEntropy
from kagglekit.models import registry
from kagglekit.recipe import ComputeSettings, FeatureSettings
from kagglekit.tasks import kinds
from kagglekit.tasks.targets import Classes

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data"
ARCHIVE = ARCHIVE / "state-farm-distracted-driver-detection" / "state-farm-distracted-driver-detection.zip"
VIEWS = ("plain", "mirror")
TOLERANCES = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
"""Tolerances to try; the first is scikit-learn's default."""
AS_LOW = 1e-5
"""Relative difference up to which two objectives count as equal."""
MOST_STEPS = 10_000
"""Step limit, high enough that scikit-learn stops by its tolerance."""


def photographs(folder: Path, name: str) -> tuple[Floats32, Labels]:
    """Return State Farm's features (N, V, D) and the class of each view, (N, V)."""
    competition = plugins.load("state-farm").competition()
    paths = sorted(archives.extract(ARCHIVE, folder).folder.glob("imgs/train/*/*.jpg"))
    backbone = registry.resolve(name, FeatureSettings())
    engine = FeatureEngine([backbone], VIEWS, "pooled", ComputeSettings(), folder / "features")
    contents = [hashlib.blake2b(path.read_bytes(), digest_size=16).digest() for path in paths]
    rows = engine.compute([str(path) for path in paths], contents, Console()).rows(np.arange(len(paths)))
    classes, flip = list(competition.classes), dict(competition.flip)  # type: ignore[arg-type]
    shown = [(path.parent.name, flip.get(path.parent.name, path.parent.name)) for path in paths]
    return rows, np.array([[classes.index(label) for label in labels] for labels in shown])


def correlated(images: int = 4800, features: int = 1408, classes: int = 10) -> tuple[Floats32, Labels]:
    """Return random correlated features (N, V, D), mostly along a few directions, and classes (N, V)."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    strengths = np.geomspace(30, 0.3, 300)
    hidden = random.normal(0, 1, (images, len(VIEWS), 300)) + random.normal(0, 0.3, (classes, 1, 300))[labels]
    rows = (hidden * strengths) @ random.normal(0, 0.1, (300, features)) + random.normal(0, 0.3, features)
    return rows.astype(np.float32), np.repeat(labels[:, None], len(VIEWS), axis=1)


def label(tolerance: float) -> str:
    """Return the label of scikit-learn with a tolerance."""
    return f"scikit-learn, tol {tolerance:g}"


class Fits:
    """Fits of the same rows by kagglekit and scikit-learn, and their latest objectives."""

    def __init__(self, rows: Floats32, shown: Labels, strength: float) -> None:
        """`rows` (N, V, D) are features, `shown` (N, V) classes, and `strength` is C."""
        self.rows, self.shown, self.strength = rows, shown, strength
        flat = rows.reshape(-1, rows.shape[2]).astype(np.float64)
        self._mean, self._scale = flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)
        self._standard = (flat - self._mean) / self._scale
        self._single = self._standard.astype(np.float32)
        self.objectives: dict[str, float] = {}

    def kagglekit(self) -> float:
        """Time kagglekit's fit, including the decomposition of the rows."""
        fitted: list[Head] = []
        taken = seconds(lambda: fitted.append(self._fit()))
        weights, bias = fitted[0].linear()  # for rows that are not standardised
        self.objectives["kagglekit"] = self._objective(weights * self._scale[:, None], bias + self._mean @ weights)
        return taken

    def _fit(self) -> Head:
        one_hot = np.eye(int(self.shown.max()) + 1, dtype=np.float32)
        everyone = np.arange(len(self.shown))
        task = kinds.of(Classes([str(label) for label in range(len(one_hot))]))
        prepared = LinearRows(self.rows, lambda some: one_hot[self.shown[some]], everyone, task)
        paths = LinearPaths(prepared, CrossEntropy(), np.ones((1, len(self.shown)), bool))
        paths.advance([0], [self.strength])
        prepared.close()
        return paths.head(0, "")

    def scikit_learn(self, tolerance: float) -> float:
        """Time scikit-learn's fit."""
        model = LogisticRegression(C=self.strength, max_iter=MOST_STEPS, tol=tolerance)
        taken = seconds(lambda: model.fit(self._single, self.shown.ravel()))
        weights, bias = model.coef_.T.astype(np.float64), model.intercept_
        self.objectives[label(tolerance)] = self._objective(weights, bias)
        return taken

    def tolerance_that_is_as_low(self) -> float:
        """Return scikit-learn's loosest tolerance with an objective as low as ours, else the tightest."""
        self.kagglekit()
        for tolerance in TOLERANCES:
            self.scikit_learn(tolerance)
            if self.objectives[label(tolerance)] <= self.objectives["kagglekit"] * (1 + AS_LOW):
                break
        return tolerance

    def _objective(self, weights: Floats, bias: Floats) -> float:
        """Return the objective for weights (D, C) and bias (C,), in double precision."""
        scores = log_softmax(self._standard @ weights + bias, axis=1)
        losses = -scores[np.arange(len(scores)), self.shown.ravel()]
        return float(self.strength * losses.sum() + (weights**2).sum() / 2)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backbone", default="tf_efficientnet_lite2")
    options.add_argument("--strengths", type=float, nargs="+", default=[0.001, 0.01])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--random", action="store_true", help="take random features, though the archive is here")
    chosen = options.parse_args()
    if ARCHIVE.is_file() and not chosen.random:
        with tempfile.TemporaryDirectory() as folder:
            rows, shown = photographs(Path(folder), chosen.backbone)
        origin = f"State Farm's features of {chosen.backbone}"
    else:
        rows, shown = correlated()
        origin = "random features that move together"
    print(f"{machine()}; {origin}: {rows.shape[0] * rows.shape[1]} rows of {rows.shape[2]} features")
    for strength in chosen.strengths:
        fits = Fits(rows, shown, strength)
        tolerances = sorted({TOLERANCES[0], fits.tolerance_that_is_as_low()}, reverse=True)
        rivals = {label(tolerance): partial(fits.scikit_learn, tolerance) for tolerance in tolerances}
        found = rounds({"kagglekit": fits.kagglekit} | rivals, chosen.rounds)
        ours = fits.objectives["kagglekit"]
        print(f"  C {strength:g}:")
        for name, taken in found.items():
            above = fits.objectives[name] / ours - 1
            print(f"    {name:24}{statistics.median(taken):8.2f} s, objective {ours * (1 + above):.5f} ({above:+.1e})")
        for name in rivals:
            print(f"    kagglekit / {name}: {ratio(found['kagglekit'], found[name])}")


if __name__ == "__main__":
    main()
