"""Files of probabilities by id in a run's folder.

N: rows, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.base.columns import beside

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """Probabilities by id, as written by `Run.write_probabilities`."""

    labels: tuple[str, ...]
    """Labels of the classes, (C,)."""
    frame: pd.DataFrame
    """One column per class, after `id` and others, whose names may end in an underscore (see `beside`)."""

    @classmethod
    def read(cls, path: Path, labels: Sequence[str]) -> Probabilities:
        """Read a parquet file."""
        import pandas as pd

        return cls(labels=tuple(labels), frame=pd.read_parquet(path))

    def of(self, ids: Sequence[str], view: str = "") -> Floats:
        """Return the probabilities (N, C) of `ids`, in their order; of one view if the file has several."""
        import numpy as np

        frame = self.frame.set_index(beside("id", self.labels))
        if view:
            frame = frame[frame[beside("view", self.labels)] == view]
        return np.asarray(frame.loc[list(ids), list(self.labels)].to_numpy(dtype=np.float64))

    def known(self, *names: str) -> pd.DataFrame:
        """Return the columns that belong to no class, such as `id` and `label`, under these names."""
        columns = {beside(name, self.labels): name for name in names}
        return self.frame[list(columns)].rename(columns=columns)
