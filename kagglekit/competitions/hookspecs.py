"""Every hook, in the order in which a run calls it.

A plugin is a module with functions of these names under `@kagglekit.hookimpl`; it takes only the
arguments it needs. `competition` is the one that every plugin has. What a hook returns is checked where
it is called, and the message names the plugin and the hook.
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
    """Describe the competition; called first. Return a `Competition`."""
    raise NotImplementedError


@hookspec(firstresult=True)
def recipe() -> Mapping[str, Any]:
    """Give the settings tuned for this competition; called before the data is looked at.

    Return setting -> value; `recipe.toml` and the command line override them.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def augmentations(size: tuple[int, int]) -> Mapping[str, list[Any]]:
    """Offer policies of augmentation; called after `recipe`, where training images are to be augmented.

    `size` is the height and width that the network sees. Return name -> albumentations transforms, which give uint8
    RGB images of that size; setting `augment` names one, and a name of kagglekit's own is replaced. Import
    albumentations in here, and leave mirroring to setting `mirror_share`, which knows the classes.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def train_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """List the training images; called when the data is there.

    Return one row an image: `id`, `path` (absolute), `label` (a key of `classes`), and, where the
    competition has them, `group` (str) and `valid` (bool, in the data's own validation set).
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def test_table(competition: Competition, files: DataFiles) -> pd.DataFrame:
    """List the test images; called after `train_table`. Return one row an image: `id`, `path` (absolute)."""
    raise NotImplementedError


@hookspec(firstresult=True)
def submission(
    competition: Competition, ids: list[str], probabilities: NDArray[np.float64], sample: pd.DataFrame | None
) -> pd.DataFrame:
    """Lay out the submission; called last.

    `ids` (N) and `probabilities` (N, C) are matched row by row; `sample` is the sample submission, where
    there is one, as strings. Return exactly the rows and columns of the CSV file.
    """
    raise NotImplementedError
