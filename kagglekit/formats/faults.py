"""What is wrong with the rows of a submission. N rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Fault(NamedTuple):
    """What is wrong with some rows."""

    rows: Any
    """Whether each row has the fault, (N,)."""
    what: str
    """What the rows are or do, as the end of a sentence."""


Bounds = tuple[float | None, float | None]


def named(found: Iterable[Fault], ids: Sequence[str], shown: Callable[[int], str] | None = None) -> Iterator[str]:
    """Yield the faults that rows have, with their ids (N) and, if asked for, how the first of them is `shown`."""
    for wrong, what in found:
        places = wrong.nonzero()[0].tolist()
        if places:
            example = "" if shown is None else f": {shown(places[0])!r}"
            yield f"rows of {some([ids[place] for place in places])} {what}{example}"


def of_columns(names: Sequence[Any], wanted: Sequence[str]) -> str:
    """Return the fault of a table's columns; empty if there is none."""
    if all(isinstance(name, str) for name in names) and sorted(names) == sorted(wanted):
        return ""
    return f"its columns are {list(names)}, not {list(wanted)}"


def of_ids(written: Sequence[str], ids: Sequence[str]) -> str:
    """Return the fault of a table's ids, which must be `ids` in any order; empty if there is none."""
    counts, wanted = Counter(written), Counter(ids)
    more = sorted(value for value, count in counts.items() if count > max(wanted[value], 1))
    if more:
        most = max(max(wanted[value], 1) for value in more)
        return f"{some(more)} more than {'once' if most == 1 else f'{most} times'}"
    missing = [value for value, count in wanted.items() if counts[value] < count]
    if missing:
        return f"{some(missing)} missing"
    extra = [value for value in written if value not in wanted]
    return f"{some(extra)} not in the test set" if extra else ""


def some(ids: Sequence[str]) -> str:
    """Return how many ids there are, and the first of them."""
    shown = ", ".join(repr(value) for value in ids[:3])
    return f"{len(ids)} ids ({shown}{', …' if len(ids) > 3 else ''})"


def of_types(values: pd.DataFrame) -> str:
    """Return the fault of columns that must hold numbers; empty if they do."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if all(is_numeric_dtype(kind) and not is_bool_dtype(kind) and kind.kind != "c" for kind in values.dtypes):
        return ""
    return f"columns {list(values.columns)} must hold numbers"


def of_numbers(values: pd.DataFrame) -> Iterator[Fault]:
    """Yield the faults of rows of numbers."""
    import numpy as np

    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    yield Fault(np.any(~np.isfinite(numbers), axis=1), "hold no number")


def of_range(values: pd.DataFrame, bounds: Bounds) -> Iterator[Fault]:
    """Yield the faults of rows whose numbers must be within `bounds`."""
    import numpy as np

    low, high = (limit if limit is not None else sign * np.inf for limit, sign in zip(bounds, (-1, 1), strict=True))
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.any((numbers < low) | (numbers > high), axis=1)
    yield Fault(wrong, f"are outside {low:g} to {high:g}")


def of_sums(values: pd.DataFrame, tolerance: float) -> Iterator[Fault]:
    """Yield the faults of rows of probabilities that must sum to one."""
    import numpy as np

    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    yield Fault(np.abs(numbers.sum(axis=1) - 1) > tolerance, "do not sum to 1")


def of_names(cells: Iterable[Sequence[str] | None], known: Collection[str], noun: str) -> Iterator[Fault]:
    """Yield the faults of rows with several names each; None is a missing cell. Each name is a `noun`."""
    import numpy as np

    rows, names = list(cells), set(known)
    yield Fault(np.array([row is None for row in rows], dtype=bool), "have no value")
    strange = [row is not None and not names.issuperset(row) for row in rows]
    yield Fault(np.array(strange, dtype=bool), f"have no {noun} of the competition")
    again = [row is not None and len(set(row)) < len(row) for row in rows]
    yield Fault(np.array(again, dtype=bool), f"have a {noun} twice")
