"""What `kagglekit check` says of a metric: of those that ship nothing, of a wrong one a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from kagglekit import metrics
from kagglekit.authoring import metric_probe
from kagglekit.base.errors import PluginError
from kagglekit.metrics import Metric
from tests.test_metric_names import SPELLED

NAMES = ("any", "root_1", "root_2", "vowel_1")
WIDTHS = {"classes": (4, 2), "labels": (4, 1), "grades": (4,), "numbers": (2,), "shares": (3,)}
"""Kind of target -> numbers of columns, of which a metric can score one at least."""


def resolved(text: str, kind: str) -> tuple[Metric, int]:
    """Return a metric and the number of columns that it can score."""
    for width in WIDTHS[kind]:
        try:
            return metrics.resolve(text, NAMES[:width]), width
        except ValueError as error:
            remark = error
    raise remark


@pytest.mark.parametrize("text", [text for text in SPELLED if "dog" not in text])
def test_every_metric_that_ships_passes_for_every_kind_that_it_scores(text: str) -> None:
    for kind in metrics.resolve(text).kinds:
        metric, width = resolved(text, kind)
        metric_probe.check(metric, kind, width, 1, 100)


def dogs(score: Callable[..., float]) -> Callable[..., float]:
    return lambda truth, rows: score(truth, rows[:, 1])


def own(score: Callable[..., Any], **fields: Any) -> Metric:
    return Metric(name="own", score=score, **fields)


def brier(truth: Any, rows: Any) -> float:
    return float(((rows - np.eye(rows.shape[1])[truth]) ** 2).mean())


def in_place(truth: Any, rows: Any) -> float:
    rows /= 2
    return brier(truth, rows)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (dogs(sk.average_precision_score), r"'own metric': perfect predictions score 1 and shuffled ones 0\.\d+, but "),
        (dogs(sk.roc_auc_score), r"lower counts as better: higher is better, so write metric=Metric\(name="),
        (own(brier, lower_is_better=False), "so write .*lower_is_better=True"),
        (own(lambda truth, rows: float("nan")), "'own', with perfect predictions: it is nan: raise a ValueError"),
        (own(lambda truth, rows: rows[:, 0]), r"it returns an array of shape \(300,\), not a number"),
        (own(lambda truth, rows: None), "it returns None, not a number"),
        (own(lambda truth, rows: 0.5), "perfect and shuffled predictions have the same score, 0.5"),
        (own(lambda truth, rows: {}["x"]), "with perfect predictions: KeyError: 'x'"),
        (own(dogs(sk.roc_auc_score), lower_is_better=False), "with images of one class: it is nan: raise a ValueError"),
        (own(lambda truth, rows: brier(truth, rows) / (len(truth) > 2)), "with two images: ZeroDivisionError"),
        (own(in_place), "it changes its arguments"),
        (own(brier, per_row=lambda truth, rows: rows[:, 0]), "the mean of per_row must be the score"),
    ],
)
def test_a_wrong_metric_is_named_in_one_line(metric: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        metric_probe.check(metrics.resolve(metric), "classes", 2)
    assert "\n" not in str(caught.value)


def test_a_metric_may_be_undefined_if_it_says_so_and_return_single_precision() -> None:
    def area(truth: Any, rows: Any) -> Any:
        if len(np.unique(truth)) < 2:
            raise ValueError("one class")
        return np.float32(sk.roc_auc_score(truth, rows[:, 1]))

    metric_probe.check(own(area, lower_is_better=False), "classes", 2)
