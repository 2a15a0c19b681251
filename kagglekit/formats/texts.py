"""Cells of tables as text, and the numbers in them. N rows, K columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.arrays import Floats, Indices, Mask


def of_cells(cells: pd.Series[Any]) -> list[str | None]:
    """Return cells as text, (N,); None for missing ones."""
    return [None if missing else str(cell) for cell, missing in zip(cells, cells.isna(), strict=True)]


def numbers(values: pd.DataFrame) -> Floats:
    """Return the numbers in cells of text, (N, K); NaN where there is none."""
    import numpy as np
    import pandas as pd

    found = np.empty(values.shape)
    for place in range(values.shape[1]):
        codes, different = _distinct(values.iloc[:, place])
        known = pd.to_numeric(pd.Series(different, dtype=object), errors="coerce").to_numpy(np.float64)
        found[:, place] = np.append(known, np.nan)[codes]
    return found


def filled(values: pd.DataFrame) -> Mask:
    """Return whether each row has a cell that is not blank, (N,)."""
    import numpy as np

    found = np.zeros(len(values), bool)
    for place in range(values.shape[1]):
        if found.all():
            break
        codes, different = _distinct(values.iloc[:, place])
        found |= np.array([bool(str(text).strip()) for text in different] + [False])[codes]
    return found


def _distinct(cells: pd.Series[Any]) -> tuple[Indices, list[str]]:
    """Return the number of each cell's text in a list of those that occur, (N,), and the list; -1 is a missing cell.

    A sample submission has many cells and few different ones.
    """
    codes, different = cells.factorize()
    return codes.astype("int64"), list(map(str, different))
