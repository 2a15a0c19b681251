"""Probabilities by id, as the files of a run's folder hold them.

N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """Probabilities by id, as `Run.write_probabilities` wrote them."""

    labels: tuple[str, ...]
    """C of them."""
    frame: pd.DataFrame
    """A column a class, after `id` and others; those may have an underscore more, see `beside`."""

    @classmethod
    def read(cls, path: Path, labels: Sequence[str]) -> Probabilities:
        """Read a file."""
        import pandas as pd

        return cls(labels=tuple(labels), frame=pd.read_parquet(path))

    def of(self, ids: Sequence[str], view: str = "") -> Floats:
        """Return probabilities (N, C) for `ids` in their order; of one view, if there are more."""
        import numpy as np

        frame = self.frame.set_index(beside("id", self.labels))
        if view:
            frame = frame[frame[beside("view", self.labels)] == view]
        return np.asarray(frame.loc[list(ids), list(self.labels)].to_numpy(dtype=np.float64))

    def known(self, *names: str) -> pd.DataFrame:
        """Return columns that are no class's, such as `id` and `label`, under these names."""
        columns = {beside(name, self.labels): name for name in names}
        return self.frame[list(columns)].rename(columns=columns)


def beside(column: str, labels: Sequence[str]) -> str:
    """Return a column's name that is no class's: a class may be called `id`."""
    while column in labels:
        column += "_"
    return column
