"""All hooks, in the order in which a run calls them.

A plugin is a module with functions of these names, decorated with `@kagglekit.hookimpl`. A function takes only the
arguments it needs. Only `competition` is required. kagglekit checks every return value; an error names the plugin
and the hook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from kagglekit.competitions.competition import Competition

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from kagglekit.competitions.datafiles import DataFiles

hookspec = pluggy.HookspecMarker("kagglekit")
hookimpl = pluggy.HookimplMarker("kagglekit")


@hookspec(firstresult=True)
def competition() -> Competition:
    """Return the description of the competition. Called first."""
    raise NotImplementedError


@hookspec(firstresult=True)
def recipe() -> Mapping[str, Any]:
    """Return the settings tuned for this competition, by name. Called before the data is read.

    `recipe.toml` and the command line override them.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def search_space(space: Mapping[str, str]) -> Mapping[str, str]:
    """Narrow or extend what `kagglekit tune` searches. Called by that command only.

    `space` is the default space of the run's method: setting -> values, as `--search` takes them, such as
    `{"augment": "light,strong", "learning_rate": "1e-4..1e-2"}`. Return the space to search. `--search` on the
    command line replaces it.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def augmentations(size: tuple[int, int]) -> Mapping[str, list[Any]]:
    """Add augmentation policies. Called after `recipe`, when training images are augmented.

    `size` is the height and width of the network's input. Return name -> albumentations transforms, which take and
    return uint8 RGB images of that size. The setting `augment` selects a policy by name; a name of kagglekit's own
    replaces that policy. Import albumentations inside the hook. Leave mirroring to the setting `mirror_share`, which
    also swaps the classes.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def train_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """List the training images. Called once the data has been found.

    Return one row per image: `id`, `path` (absolute), `label` (str: a class, a grade or a number; several labels or
    numbers are joined by `|`) and, if the competition has them, `group` (str), `row` (str, what a row of the submission
    would be of, if that is a group of images; by default `group`) and `valid` (bool, whether the image is
    in the data's own validation set).
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def test_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """List the test images. Called after `train_table`. Return one row per image: `id`, `path` (absolute).

    If a row of the submission is of a group of images, also `row`: the group, or several joined by `|`.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def submission(
    competition: Competition,
    ids: list[str],
    probabilities: NDArray[np.float64],
    sample: pd.DataFrame | None,
    decided: NDArray[Any],
) -> pd.DataFrame:
    """Format the submission. Called last, and for some rows of class priors before anything is computed.

    `ids` (N), `probabilities` (N, C) and `decided` are matched row by row. `decided` is what the run decided of each
    image: the index of its class or grade (N,), whether it has each label (N, C), its numbers (N, C), or with
    `TopClasses` its guesses (N, k). `sample` is the sample submission, if any, with all values as strings; the first
    call has only the rows of `ids`.

    Return exactly the rows and columns of the CSV file, in the format that the description declares: `OwnFormat` for
    any that kagglekit does not know.
    """
    raise NotImplementedError
