"""The test set that MLE-bench takes from the training images, where it is a plain rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kagglekit.base import image_names
from kagglekit.base.arrays import Indices, Mask
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import CsvLabels


def benchmark_part(competition: Competition, files: DataFiles, train: pd.DataFrame) -> Mask:
    """Return which of the N training images MLE-bench hides, (N,). Raises UserError if no plain rule is declared.

    Source: the `prepare.py` of each competition in openai/mle-bench.
    """
    from sklearn.model_selection import train_test_split

    share = competition.mle_bench
    if not share:
        raise UserError(
            f"--split mle-bench: the plugin of {competition.name} declares no plain rule of MLE-bench (mle_bench); "
            "use --split random."
        )
    _, part = train_test_split(_order(competition, files, train), test_size=share, random_state=0)
    hidden = np.zeros(len(train), bool)
    hidden[part] = True
    return hidden


def _order(competition: Competition, files: DataFiles, train: pd.DataFrame) -> Indices:
    """Return the images in the order of the rows of their table; without one, of their sorted paths, (N,)."""
    layout = competition.train
    if not isinstance(layout, CsvLabels):
        paths = [Path(path).parts for path in train["path"]]
        return np.array(sorted(range(len(paths)), key=paths.__getitem__), np.int64)
    names = csv_tables.read(files, layout.source, [layout.id])[layout.id].str.strip().tolist()
    spelled = [image_names.spellings(*pair) for pair in zip(train["id"], train["path"], strict=True)]
    rows = [row for row in image_names.match(spelled, names) if row is not None]
    if len(rows) != len(train) or len(rows) != len(names):
        raise UserError(
            f"--split mle-bench: {layout.source} has {len(names)} rows, of which {len(rows)} belong to the "
            f"{len(train)} training images: MLE-bench's split needs all of Kaggle's data, and no drops.csv or sample."
        )
    return np.argsort(rows)
