"""The end of a run: finishing steps, the submission, and the closing numbers.

N scored images, M test images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit import metrics, storage, submissions
from kagglekit.engines import finish, folds
from kagglekit.engines.predictions import Predictions
from kagglekit.job import Job

Floats = NDArray[np.float64]


def conclude(job: Job, predictions: Predictions) -> dict[str, Any]:
    """Finish, write and check the submission, and write the closing numbers."""
    run, labels = job.run, job.competition.labels
    train = predictions.train[predictions.train["fold"] != folds.TRAIN_ONLY]
    scored = _scored(train, predictions.oof, labels)
    metric = metrics.resolve(job.competition.metric)
    with run.stage("finish"):
        oof, gates = finish.finish(scored, job.recipe.finish, metric, job.recipe.seed)
        test = finish.apply_kept(predictions.test, gates)
        test[np.isnan(test).any(axis=1)] = predictions.prior
    for gate in gates:
        job.console.say(gate.line())
    truth = {"label": train["label"].tolist(), "fold": train["fold"].tolist()}
    run.write_probabilities("oof.parquet", train["id"].tolist(), oof, labels, **truth)
    run.write_probabilities("test.parquet", job.tables.asked["id"].tolist(), test, labels)
    with run.stage("submission"):
        write_submission(job, test, predictions.prior)
    error = finish.standard_error(scored, oof, metric, job.recipe.seed)
    record = storage.read_json(run.folder / "run.json")
    result = {
        "metric": metric.name,
        "lower_is_better": metric.lower_is_better,
        "out_of_fold": metric.score(scored.truth, oof),
        "standard_error": None if math.isnan(error) else error,
        "accuracy": float(metrics.correct_rows(scored.truth, oof).mean()),
        "before_finish": metric.score(scored.truth, scored.probabilities),
        "finish": [gate.as_dict() for gate in gates],
        "clusters": len(np.unique(scored.clusters)),
        "scored_images": len(scored.truth),
        "validation": job.recipe.validation,
        "sample": job.recipe.sample,
        "backbones": [backbone["name"] for backbone in record["backbones"]],
        "device": storage.read_json(run.folder / "provider.json")["used"],
        "seconds": run.seconds,
        "submission_sha256": storage.file_sha256(run.submission),
    }
    storage.write_json(run.folder / "result.json", result)
    return result


def _scored(train: pd.DataFrame, oof: Floats, labels: Sequence[str]) -> finish.Scored:
    clusters = train["group"] if "group" in train else train["id"]
    return finish.Scored(
        np.array([labels.index(label) for label in train["label"]], dtype=np.int64),
        oof,
        pd.factorize(clusters)[0].astype(np.int64),
        train["fold"].to_numpy(),
    )


def write_submission(job: Job, test: Floats, prior: Floats) -> None:
    """Lay out, check and write the submission: every id that is asked for has one row."""
    competition, tables = job.competition, job.tables
    predicted = {
        submissions.written_id(competition, test_id): row for test_id, row in zip(tables.asked["id"], test, strict=True)
    }
    ids = submissions.expected_ids(competition, tables.test["id"].tolist(), tables.sample)
    rows = np.stack([predicted.get(row_id, prior) for row_id in ids])
    if len(predicted) < len(ids):
        job.console.warn(
            f"{len(ids) - len(predicted)} of {len(ids)} rows hold the class prior: they were not predicted"
        )
    frame = job.plugin.submission(competition, ids, rows, tables.sample)
    submissions.check(frame, competition, ids)
    submissions.write(frame, job.run.submission)
