"""Files of probabilities by id in a run's folder.

A file has one column per class; of very many classes it has short lists: `place1`, … are the most probable classes of
each row, by their position among all, `value1`, … their probabilities, and `rest` is the mean of all others.

N: rows, C: classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kagglekit.base.columns import beside

if TYPE_CHECKING:
    import pandas as pd

    from kagglekit.base.shortlists import Wide


@dataclass(frozen=True, kw_only=True)
class Probabilities:
    """Probabilities by id, as written by `Run.write_probabilities`."""

    labels: tuple[str, ...]
    """Labels of the classes, (C,)."""
    frame: pd.DataFrame
    """The rows, after `id` and others, whose names may end in an underscore (see `beside`)."""

    @classmethod
    def read(cls, path: Path, labels: Sequence[str], view: str = "") -> Probabilities:
        """Read a parquet file; of a file with several views, one of them or all."""
        import pandas as pd

        only = [(beside("view", labels), "==", view)] if view else None
        return cls(labels=tuple(labels), frame=pd.read_parquet(path, filters=only))

    @staticmethod
    def table(ids: Sequence[str], probabilities: Wide, labels: Sequence[str], **more: Any) -> pd.DataFrame:
        """Return the content of a file: `id`, the columns in `more`, and the probabilities (N, C)."""
        import pandas as pd

        from kagglekit.base.shortlists import Shortlists

        known = {beside(column, labels): values for column, values in ({"id": list(ids)} | more).items()}
        if isinstance(probabilities, Shortlists):
            return pd.DataFrame(known | probabilities.cells())
        return pd.DataFrame(known | {label: probabilities[:, place] for place, label in enumerate(labels)})

    def of(self, ids: Sequence[str]) -> Wide:
        """Return the probabilities (N, C) of `ids`, in their order."""
        import numpy as np

        from kagglekit.base.shortlists import Shortlists

        frame = self.frame.set_index(beside("id", self.labels))
        if frame.shape[1] < len(self.labels):
            return Shortlists.of_cells(frame.loc[list(ids)], len(self.labels))
        return np.asarray(frame.loc[list(ids), list(self.labels)].to_numpy(dtype=np.float64))

    def known(self, *names: str) -> pd.DataFrame:
        """Return the columns that belong to no class, such as `id` and `label`, under these names."""
        columns = {beside(name, self.labels): name for name in names}
        return self.frame[list(columns)].rename(columns=columns)
