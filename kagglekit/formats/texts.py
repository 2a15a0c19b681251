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

    codes, different = _distinct(values)
    found = pd.to_numeric(pd.Series(different, dtype=object), errors="coerce").to_numpy(np.float64)
    return np.append(found, np.nan)[codes]


def filled(values: pd.DataFrame) -> Mask:
    """Return whether each row has a cell that is not blank, (N,)."""
    import numpy as np

    codes, different = _distinct(values)
    has_text = np.array([bool(str(text).strip()) for text in different] + [False])
    return np.asarray(has_text[codes].any(axis=1))


def _distinct(values: pd.DataFrame) -> tuple[Indices, list[str]]:
    """Return the number of each cell's text in a list of those that occur, (N, K), and the list; -1 is a missing cell.

    A sample submission has many cells and few different ones.
    """
    import pandas as pd

    codes, different = pd.factorize(values.to_numpy(dtype=object).ravel())
    return codes.reshape(values.shape), different.tolist()
