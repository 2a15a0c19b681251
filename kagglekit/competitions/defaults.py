"""Default hooks, derived from a competition's description alone; plugins may override them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kagglekit.competitions.competition import Competition
from kagglekit.competitions.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from kagglekit.competitions.datafiles import DataFiles


@hookimpl(trylast=True)
def recipe() -> Mapping[str, Any]:
    """Add no settings."""
    return {}


@hookimpl(trylast=True)
def augmentations() -> Mapping[str, list[Any]]:
    """Add no policies."""
    return {}


@hookimpl(trylast=True)
def search_space(space: Mapping[str, str]) -> Mapping[str, str]:
    """Search the method's default space."""
    return space


@hookimpl(trylast=True)
def train_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Read the declared training layout."""
    from kagglekit.competitions import layout

    return layout.read_train(competition, files)


@hookimpl(trylast=True)
def test_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """Read the declared test pattern."""
    from kagglekit.competitions import layout

    return layout.read_test(competition, files)


@hookimpl(trylast=True)
def submission(
    competition: Competition,
    ids: list[str],
    probabilities: NDArray[np.float64],
    sample: pd.DataFrame | None,
    decided: NDArray[Any],
) -> pd.DataFrame:
    """Format rows as declared."""
    from kagglekit.competitions import submissions

    return submissions.lay_out(competition, ids, probabilities, sample, decided)
