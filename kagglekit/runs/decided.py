"""What a run decides: for its test images by one decision, and out-of-fold by those of other folds.

N: rows, K: values of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kagglekit.base import storage
from kagglekit.runs import filenames
from kagglekit.tasks import decisions
from kagglekit.tasks.decisions import Decision

if TYPE_CHECKING:
    from kagglekit.runs.store import Run
    from kagglekit.tasks.task import Decided

_ONE, _SEVERAL = "decided", "decided{}"
"""Columns of decisions with one value a row, and with several."""


def write_decision(run: Run, decision: Decision) -> None:
    """Write the decision for the test set."""
    storage.write_json(run.folder / filenames.DECISION, decision.to_plain())


def read_decision(run: Run) -> Decision | None:
    """Return the decision for the test set; None if an older version made the run."""
    plain = storage.read_json(run.folder / filenames.DECISION)
    return None if plain is None else decisions.from_plain(plain)


def write(run: Run, ids: Sequence[str], decided: Decided, name: str = filenames.DECIDED) -> None:
    """Write what is decided out-of-fold, (N,) or (N, K), by id."""
    import pandas as pd

    values = {_ONE: decided} if decided.ndim == 1 else {_SEVERAL.format(k): each for k, each in enumerate(decided.T)}
    run.write_frame(name, pd.DataFrame({"id": list(ids)} | values))


def read(run: Run, ids: Sequence[str], name: str = filenames.DECIDED) -> Decided | None:
    """Return what is decided out-of-fold of `ids`, in their order; None if an older version made the run."""
    import pandas as pd

    path = run.folder / name
    if not path.is_file():
        return None
    frame = pd.read_parquet(path).set_index("id").loc[list(ids)]
    return np.asarray(frame[_ONE] if _ONE in frame else frame.to_numpy())
