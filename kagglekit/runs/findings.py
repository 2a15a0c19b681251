"""What a finished run's folder says of its scored images; no plugin is needed.

N scored images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit import recipe
from kagglekit.base import metrics, storage
from kagglekit.base.arrays import Floats, Labels
from kagglekit.base.errors import UserError
from kagglekit.recipe import Recipe
from kagglekit.runs.store import Run, beside


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Rows with known truth, predicted by models that have not seen them."""

    run: Run
    record: dict[str, Any]
    """What `run.json` holds."""
    result: dict[str, Any]
    """What `result.json` holds."""
    recipe: Recipe
    classes: Mapping[str, str]
    """Label -> name for people, in the order of probabilities."""
    table: pd.DataFrame
    """N rows: `id`, `path`, `label`, `content`, `fold`, and `group` where there are groups."""
    truth: Labels
    """(N,)"""
    probabilities: Floats
    """Out-of-fold, as they were scored, (N, C)."""
    unfinished: Floats
    """The same before temperature and clip, (N, C)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels as the data writes them."""
        return tuple(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Classes' names for people."""
        return tuple(self.classes.values())

    @cached_property
    def predicted(self) -> Labels:
        """The most probable class of each row, (N,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def losses(self) -> Floats:
        """Each row's log loss, (N,)."""
        return metrics.log_loss_rows(self.truth, self.probabilities)

    @property
    def groups(self) -> NDArray[np.object_] | None:
        """Each row's group, (N,)."""
        return self.table["group"].to_numpy(dtype=object) if "group" in self.table else None


def read(run: Run) -> Findings:
    """Read a run's folder; raise UserError where it is not finished."""
    result, record = run.result, storage.read_json(run.folder / "run.json")
    if result is None or not (run.folder / "unfinished.parquet").is_file():
        what = "is not finished" if result is None else "was made by an older kagglekit"
        raise UserError(f"run {run.id} {what}: type its command again to go on.")
    classes: dict[str, str] = record["competition"]["classes"]
    labels = tuple(classes)
    scored = pd.read_parquet(run.folder / "oof.parquet")
    columns = {beside(name, labels): name for name in ("id", "label", "fold")}
    scored = scored[list(columns)].rename(columns=columns)
    images = pd.read_parquet(run.folder / "images.parquet")
    images = images[images["part"] == "train"].set_index("id").drop(columns=["label", "part"])
    table = scored.join(images, on="id").reset_index(drop=True)
    if "group" in table and table["group"].isna().all():
        table = table.drop(columns="group")
    places = {label: place for place, label in enumerate(labels)}
    ids = table["id"].tolist()
    return Findings(
        run=run,
        record=record,
        result=result,
        recipe=recipe.of_run(run.folder / "recipe.toml"),
        classes=classes,
        table=table,
        truth=np.array([places[label] for label in table["label"]], dtype=np.int64),
        probabilities=run.read_probabilities("oof.parquet", ids, labels),
        unfinished=run.read_probabilities("unfinished.parquet", ids, labels),
    )
