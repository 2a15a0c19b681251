"""A finished run against the script that everybody writes first: scikit-learn on the same features and folds.

The script takes the plain view of the run's backbone, standardises the features, and fits scikit-learn's
LogisticRegression, one for each label of several, or Ridge for numbers, all with their defaults. It decides by the most
probable class, at a probability of one half, by the rounded mean grade. Both are scored out-of-fold by the
competition's metric; the gain's interval is from a paired bootstrap over groups.

    python -m benchmarks.bare_script RUN …
"""

from __future__ import annotations

import argparse
import io
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.timing import machine
from kagglekit.base.arrays import Floats, Floats32, Indices
from kagglekit.base.console import Console
from kagglekit.base.workspace import Workspace
from kagglekit.competitions import plugins
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.heads.features import FeatureEngine
from kagglekit.metrics import Metric
from kagglekit.pipeline import deciding, gates
from kagglekit.runs import findings, store
from kagglekit.runs.findings import Findings
from kagglekit.tasks.activations import IDENTITY, SOFTMAX
from kagglekit.tasks.task import Truth


def features(found: Findings) -> Floats32:
    """Return the plain view's features of the run's scored images, (N, D)."""
    run = FittedRun(found.run, Console(io.StringIO()))
    cache = Workspace.of(found.record.competition.name).features
    engine = FeatureEngine(run.backbones, ("plain",), "pooled", found.recipe.compute, cache)
    contents = [bytes.fromhex(content) for content in found.table["content"]]
    rows = engine.compute(found.table["path"].tolist(), contents, Console(io.StringIO()))
    return rows.rows(np.arange(len(contents)))[:, 0]


def script(found: Findings, rows: Floats32) -> Floats:
    """Return the script's out-of-fold predictions, (N, C)."""
    predictions = np.zeros_like(found.probabilities)
    fold = found.table["fold"].to_numpy()
    for part in np.unique(fold):
        learnt, held = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        predictions[held] = _fitted(found, rows, learnt, held)
    return predictions


def _fitted(found: Findings, rows: Floats32, learnt: Indices, held: Indices) -> Floats:
    task, truth = found.task, found.truth[learnt]
    if task.activation is SOFTMAX:
        return _logistic(rows[learnt], truth, rows[held], len(task.columns))
    if task.activation is IDENTITY:
        model = make_pipeline(StandardScaler(), Ridge()).fit(rows[learnt], truth)
        return np.asarray(model.predict(rows[held]), dtype=np.float64).reshape(len(held), -1)
    columns = [_logistic(rows[learnt], column, rows[held], 2)[:, 1] for column in (truth > 0.5).astype(int).T]
    return np.stack(columns, axis=1)


def _logistic(learnt: Floats32, truth: Truth, held: Floats32, classes: int) -> Floats:
    """Return the probabilities of all classes, (M, C): zero for one that the script has not seen."""
    found = np.zeros((len(held), classes))
    if len(np.unique(truth)) < 2:
        found[:, truth[0]] = 1
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as the script would leave it
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(learnt, truth)
    found[:, model[-1].classes_] = model.predict_proba(held)
    return found


def compare(reference: str) -> None:
    """Print a row of the table: the scores of both, and the gain with its interval."""
    run = store.find(reference)
    found = findings.read(run)
    metric = _metric(found)
    own = found.probabilities if deciding.sees_predictions(metric) else found.submitted
    bare = deciding.needed(metric, script(found, features(found)), deciding.usual(found.task, metric))
    clusters = found.table["group"] if found.groups is not None else found.table["id"]
    numbers = np.unique(clusters.astype(str), return_inverse=True)[1].astype(np.int64)
    scored = gates.Scored(found.truth, found.probabilities, numbers, found.table["fold"].to_numpy())
    low, high = gates.gain_interval(scored, bare, own, metric, 0)
    ours, theirs = (gates.score(found.truth, rows, metric) for rows in (own, bare))
    sign = 1 if metric.lower_is_better else -1
    print(
        f"{found.record.competition.name}: {metric.name}: kagglekit {ours:.5f}, script {theirs:.5f}, "
        f"gain {sign * (theirs - ours):.5f} ({low:.5f} to {high:.5f})",
        flush=True,
    )


def _metric(found: Findings) -> Metric:
    """Return the metric of the competition as its plugin declares it now."""
    competition = plugins.load(found.record.competition.name).competition()
    return competition.with_target(found.task.target).scored_by


def main() -> None:
    """Compare all runs that are named."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("run", nargs="+", help="Id or path of a finished run of method features.")
    print(machine())
    for reference in options.parse_args().run:
        compare(reference)


if __name__ == "__main__":
    main()
