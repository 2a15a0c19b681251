"""Metrics by name: `"log_loss"`, `"map@5"`, `"fbeta(2, samples)"`, `"auc(min_tpr=0.8)"`.

A name is written as a call of the function in `kagglekit.metrics` that makes the metric; bare words are text, and
`@` gives the length of lists.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kagglekit.metrics import decided, lists, numbers, probable, ranked
from kagglekit.metrics.metric import Metric, Predicted, Truth

MAKERS: Mapping[str, Callable[..., Metric]] = MappingProxyType(
    {
        "accuracy": decided.accuracy,
        "auc": ranked.auc,
        "average_precision": ranked.average_precision,
        "balanced_accuracy": decided.balanced_accuracy,
        "f1": decided.f1,
        "fbeta": decided.fbeta,
        "gap": ranked.gap,
        "log_loss": probable.log_loss,
        "mae": numbers.mae,
        "mcrmse": numbers.mcrmse,
        "pf1": probable.pf1,
        "qwk": decided.qwk,
        "r2": numbers.r2,
        "rmse": numbers.rmse,
        "weighted_recall": decided.weighted_recall,
    }
)
"""Name -> the function that makes the metric."""
LISTS: Mapping[str, Callable[[int], Metric]] = MappingProxyType(
    {"map": lists.mean_average_precision, "top_error": lists.top_error}
)
"""Name before @ -> the function that makes the metric of lists of that length."""
_LONGEST = 2000
"""Most characters of a name."""


def known() -> list[str]:
    """Return the names of all metrics, with the lengths that lists usually have."""
    return sorted([*MAKERS, *(f"{name}@5" for name in LISTS)])


def resolve(
    metric: str | Metric | Callable[[Truth, Predicted], float], labels: Sequence[str] = (), positive: str = ""
) -> Metric:
    """Return the Metric for a name, a Metric, or a callable (truth, probabilities (N, C)); lower is better.

    With `labels`, those that it names become indices; `positive` is the positive one of two, if the submission says so.
    Raises ValueError for an unknown name, parameter or label.
    """
    found = _found(metric)
    return found.for_labels(labels, positive) if labels and found.for_labels else found


def _found(metric: str | Metric | Callable[[Truth, Predicted], float]) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if callable(metric):
        name = getattr(metric, "__name__", "")
        return Metric(name="own metric" if name in ("", "<lambda>") else name.replace("_", " "), score=metric)
    return parse(metric)


def labels_in(metric: object) -> list[str]:
    """Return the labels that the text of a metric names; for a pattern such as `vowel_*`, one that fits it."""
    if not isinstance(metric, str) or not metric:
        return []
    *_, keywords = _parts(metric)
    weights = keywords.get("weights")
    named = [keywords.get("positive"), *(weights if isinstance(weights, Mapping) else ())]
    return [re.sub("[*?]", "1", name) for name in named if isinstance(name, str) and name.strip("*")]


def parse(text: str) -> Metric:
    """Return the metric that a text means. Raises ValueError if it means none."""
    name, length, arguments, keywords = _parts(text)
    if length is not None and name in LISTS and not arguments and not keywords:
        return LISTS[name](length)
    if name in LISTS:
        raise ValueError(f"metric {text!r} must say the length of the lists, and no more: {name}@5")
    if name not in MAKERS:
        raise _unknown(text)
    if length is not None:
        raise ValueError(f"metric {text!r}: only {' and '.join(LISTS)} have lists, with an @")
    try:
        inspect.signature(MAKERS[name]).bind(*arguments, **keywords)
    except TypeError as error:
        raise ValueError(f"metric {text!r}: {error}; it is {usage(name)}") from None
    return MAKERS[name](*arguments, **keywords)


def usage(name: str) -> str:
    """Return how a metric is written, with all its parameters: `auc(average, min_tpr=, weights=, positive=)`."""
    parameters = inspect.signature(MAKERS[name]).parameters.values()
    shown = [each.name + ("=" if each.kind is each.KEYWORD_ONLY else "") for each in parameters]
    return f"{name}({', '.join(shown)})" if shown else name


def _parts(text: str) -> tuple[str, Any, list[Any], dict[str, Any]]:
    """Return a metric's name, the length after its @ or None, and its arguments."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise _unknown(text)
    try:
        with warnings.catch_warnings(action="ignore"):  # Python warns of odd escapes in texts
            node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unknown(text) from None
    length = None
    call = node if isinstance(node, ast.Call) else None
    named: ast.AST = call.func if call else node
    match named:
        case ast.BinOp(left=before, op=ast.MatMult(), right=after):
            named, length = before, _value(after, text)
    if not isinstance(named, ast.Name):
        raise _unknown(text)
    arguments = [_value(argument, text) for argument in call.args] if call else []
    keywords = {str(pair.arg): _value(pair.value, text) for pair in call.keywords} if call else {}
    return named.id, length, arguments, keywords


def _value(node: ast.expr, text: str) -> Any:
    """Return the value of an argument: a word, a text, a number, or a mapping of these."""
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"metric {text!r}: {ast.unparse(node)} is no word, number or mapping") from None


def _unknown(text: object) -> ValueError:
    return ValueError(f"metric {text!r} is not one of {', '.join(known())}, a Metric or a callable")
