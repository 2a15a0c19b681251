"""Metrics by name: one grammar, parameters, labels, and one line for what is wrong."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit import metrics
from kagglekit.metrics import names

SPELLED = {
    "log_loss": "log loss",
    "log_loss(weights={'any': 2})": "log loss (any: 2)",
    "log_loss(positive_weight=2, weights={'any': 7})": "log loss (any: 7, positive: 2)",
    "accuracy": "accuracy",
    "accuracy()": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "weighted_recall(weights={'root*': 2, 'vowel*': 1})": "recall (root*: 2, vowel*: 1)",
    "f1(macro)": "F1 (macro)",
    "f1('macro')": "F1 (macro)",
    " f1( macro ) ": "F1 (macro)",
    "f1(average=micro)": "F1 (micro)",
    "f1(samples)": "F1 (samples)",
    "f1(binary, positive=dog)": "F1 (binary)",
    "fbeta(2, samples)": "F2 (samples)",
    "fbeta(0.5, macro)": "F0.5 (macro)",
    "pf1": "probabilistic F1",
    "qwk": "quadratic weighted kappa",
    "auc": "AUC",
    "auc(mean)": "AUC (mean)",
    "auc(min_tpr=0.8)": "AUC (TPR above 0.8)",
    "auc(weights={0.4: 2, 1: 1})": "AUC (weights 0.4: 2, 1: 1)",
    "average_precision": "average precision",
    "average_precision(macro)": "average precision (macro)",
    "gap": "GAP",
    "map@5": "MAP@5",
    "map @ 20": "MAP@20",
    "top_error@3": "top-3 error",
    "rmse": "RMSE",
    "mcrmse": "mean column-wise RMSE",
    "mae": "MAE",
    "r2": "R2",
}


@pytest.mark.parametrize("text", SPELLED)
def test_a_name_means_a_metric(text: str) -> None:
    assert metrics.resolve(text).name == SPELLED[text]


def test_every_metric_is_spelled_here_and_public() -> None:
    first_words = {text.strip().split("(")[0].split("@")[0].strip() for text in SPELLED}
    assert first_words == {*names.MAKERS, *names.LISTS}
    assert all(getattr(metrics, name) is maker for name, maker in names.MAKERS.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logloss", "metric 'logloss' is not one of accuracy, auc, .*, map@5, .*, a Metric or a callable"),
        ("", "metric '' is not one of accuracy"),
        ("f1(macro", "is not one of accuracy"),
        ("f1(macro)\nf1", "is not one of accuracy"),
        ("a.b(c)", "is not one of accuracy"),
        ("f1" + " " * 3000, "is not one of accuracy"),
        ("f1", r"metric 'f1': missing a required argument: 'average'; it is f1\(average, positive=\)"),
        ("f1(marco)", "f1: average 'marco' is not one of binary, micro, macro, samples"),
        ("f1(macro, positive=dog)", "f1: positive is for the average 'binary', not 'macro'"),
        ("f1(macro(2))", r"macro\(2\) is no word, number or mapping"),
        ("fbeta(0, macro)", "fbeta: beta 0 must be above 0"),
        ("fbeta(two, macro)", "fbeta: beta 'two' is not a number"),
        ("fbeta(2, macro, 3)", r"too many positional arguments; it is fbeta\(beta, average, positive=\)"),
        ("auc(mode=mean)", "unexpected keyword argument 'mode'"),
        ("auc(**mean)", "auc"),
        ("auc(*mean)", "auc"),
        ("auc(median)", "auc: average 'median' is not one of"),
        ("auc(min_tpr=1)", "auc: min_tpr 1 must be from 0 to below 1"),
        ("auc(min_tpr=0.5, weights={1: 1})", "exclude each other"),
        ("auc(mean, positive=dog)", "exclude each other"),
        ("auc(weights={0.4: 2})", "rising rates up to 1"),
        ("auc(weights={0.4: 2, 0.3: 1, 1: 1})", "rising rates up to 1"),
        ("auc(weights={})", "must map true positive rates to weights"),
        ("auc(weights=3)", "must map true positive rates to weights"),
        ("map", "metric 'map' must say the length of the lists, and no more: map@5"),
        ("map@5(3)", r"metric 'map@5\(3\)': 5\(3\) is no word, number or mapping"),
        ("map(5)", "metric 'map\\(5\\)' must say the length of the lists, and no more: map@5"),
        ("map@0", "map@0: the length of the lists must be a whole number above 0"),
        ("map@five", "map@five: the length of the lists must be a whole number above 0"),
        ("accuracy@3", "only map and top_error have lists, with an @"),
        ("log_loss(weights={'any': two})", "no word, number or mapping"),
        ("log_loss(weights={'any': 'two'})", "log_loss: the weight of 'any' 'two' is not a number"),
        ("log_loss(weights={'any': 0})", "must not be negative, and not all 0"),
        ("log_loss(weights={'any': -1, 'all': 1})", "must not be negative"),
        ("log_loss(weights=2)", "must map labels to numbers"),
        ("log_loss(positive_weight=0)", "must be above 0"),
        ("weighted_recall", r"missing a required .*argument: 'weights'; it is weighted_recall\(weights=\)"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        metrics.resolve(text)
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=30), st.text(alphabet="f1auc(mean)@5,={}:'*. -", max_size=30)))
def test_any_text_is_a_metric_or_one_line(text: str) -> None:
    try:
        found = metrics.resolve(text).name
    except ValueError as error:
        found = str(error)
    assert found
    assert "\n" not in found


@given(st.sampled_from(["binary", "micro", "macro", "samples"]), st.floats(0.01, 100), st.booleans(), st.booleans())
def test_a_name_means_what_the_call_means(average: str, beta: float, quoted: bool, named: bool) -> None:
    word = repr(average) if quoted else average
    text = f"fbeta(average={word}, beta={beta!r})" if named else f"fbeta({beta!r}, {word})"
    assert metrics.resolve(text).name == metrics.fbeta(beta, average).name  # type: ignore[arg-type]


def test_labels_that_a_metric_names_must_exist() -> None:
    labels = ("any", "epidural", "root_1", "root_2")
    with pytest.raises(ValueError, match="log_loss: weights name 'anny', which is not one of any, epidural, root_1"):
        metrics.resolve("log_loss(weights={'anny': 2})", labels)
    with pytest.raises(ValueError, match="f1: positive 'cow' is not one of cat, dog"):
        metrics.resolve("f1(binary, positive=cow)", ("cat", "dog"))
    with pytest.raises(ValueError, match=r"AUC is for two classes, not 4: auc\(mean\) averages over them"):
        metrics.resolve("auc", labels)
    with pytest.raises(ValueError, match="pf1 is for two classes, not 4"):
        metrics.resolve("pf1", labels)


def test_the_positive_class_is_the_one_named_or_submitted_or_the_second() -> None:
    truth, decided = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    scores = {
        positive: metrics.resolve("f1(binary)", ("cat", "dog"), positive).score(truth, decided)
        for positive in ("", "cat", "dog")
    }
    assert scores == {"": pytest.approx(2 / 3), "cat": pytest.approx(0.8), "dog": pytest.approx(2 / 3)}
    assert metrics.resolve("f1(binary, positive=cat)", ("cat", "dog"), "dog").score(truth, decided) == scores["cat"]


def test_a_pattern_means_the_labels_that_it_fits_and_an_exact_name_only_itself() -> None:
    from kagglekit.metrics.parameters import places

    labels = ["root_1", "root_2", "root_*", "vowel_1"]
    assert places("m", ["root_*", "root_?", "vowel*"], labels) == [[2], [0, 1, 2], [3]]


def test_a_callable_has_a_name() -> None:
    assert metrics.resolve(lambda truth, rows: 0.0).name == "own metric"


def test_the_room_loads_no_numpy() -> None:
    code = "import sys, kagglekit.metrics as m; m.resolve('auc(mean)'); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
