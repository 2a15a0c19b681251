"""Format, check and write a submission. Rows are matched by id, never by position.

N rows, C classes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_string_dtype

from kagglekit.base import image_names, patterns, storage
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.locations import CsvIds, ListedIds
from kagglekit.formats import rows
from kagglekit.tasks.task import Decided

HOOKS = ("submission", "test_table")
"""Hooks that a plugin may implement and a bundle can't contain."""
ROW_SUM_TOLERANCE = 1e-6
ROUNDED_SUM_TOLERANCE = 1e-3
"""Tolerance for files from elsewhere, which may be rounded. Metrics divide each row by its sum."""


class RefusedError(UserError):
    """A submission that Kaggle would refuse; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the submission was not written, Kaggle would refuse it: {reason}.")
        self.reason = reason


def expected_ids(competition: Competition, test_ids: Sequence[str], sample: pd.DataFrame | None) -> list[str]:
    """Return the ids of the images that need rows, as in the submission: those of the sample, else of all test images.

    In a format of the plugin's own, the sample's ids need not be images: then they are those of all test images too.
    """
    written = [written_id(competition, test_id) for test_id in test_ids]
    if sample is None:
        return written
    listed = [str(value) for value in sample[competition.submission.id].unique()]
    return competition.submission.expected_ids(listed, competition.target, written)


def images_of(competition: Competition, sample: pd.DataFrame) -> list[str]:
    """Return the ids of the images whose rows a sample submission has."""
    return competition.submission.image_ids(sample[competition.submission.id].unique().tolist(), competition.target)


def of_images(competition: Competition, sample: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a sample submission that belong to images with these ids."""
    form = competition.submission
    return sample[sample[form.id].isin(form.row_ids(ids, competition.target))].reset_index(drop=True)


def rows_of(written: Sequence[str], ids: Sequence[str]) -> list[int | None]:
    """Return the position among `ids` of each test id, as `written` in the submission; None if it is not there."""
    return image_names.match([image_names.spellings(name, name) for name in written], ids)


def written_id(competition: Competition, test_id: str) -> str:
    """Return a test id in the submission's format."""
    return competition.submission.id_format.replace("{id}", test_id)


def test_id(competition: Competition, written: str) -> str | None:
    """Return the test id whose form in the submission is `written`; None if there is none."""
    before, _, after = competition.submission.id_format.partition("{id}")
    bare = written.removeprefix(before).removesuffix(after)
    return bare if written_id(competition, bare) == written else None


def lay_out(
    competition: Competition,
    ids: Sequence[str],
    predictions: Wide,
    sample: pd.DataFrame | None,
    decided: Decided | None = None,
) -> pd.DataFrame:
    """Return the submission of images with these ids, with rows and columns in the order of the sample, if any.

    `decided` is what is decided of each image, as `formats.rows` takes it; by default the usual decision.
    """
    form = competition.submission
    if decided is None:
        decided = form.usual(competition.task).apply(predictions)
    # only classes have short lists, and formats of classes index their predictions
    written: Any = predictions
    frame = pd.DataFrame(rows.lay_out(form.plain(competition.target), list(ids), written, decided))
    frame[form.id] = frame[form.id].astype("str")
    if sample is None:
        return frame
    by_id = frame.set_index(form.id)
    known = [value for value in sample[form.id] if value in by_id.index]
    return by_id.loc[known].reset_index()[list(sample.columns)]


def check(
    frame: pd.DataFrame,
    competition: Competition,
    ids: Sequence[str],
    *,
    sample: pd.DataFrame | None = None,
    tolerance: float = ROW_SUM_TOLERANCE,
) -> None:
    """Raise RefusedError, which names the rows, for a submission that Kaggle would refuse.

    Each image of `ids` must have exactly its rows. Probabilities of classes must sum to 1 within `tolerance`. A format
    of the plugin's own must have the columns and ids of the `sample`, if any, and no missing values.
    """
    reason = competition.submission.refusal(frame, competition.target, ids, sample, tolerance)
    if reason:
        raise RefusedError(reason)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write the CSV atomically. Probabilities keep all digits: the last ones matter for log loss.

    Ids and classes get the bytes of the file names that they are.
    """
    written = frame.copy()
    for column in frame.columns:
        if is_string_dtype(frame[column]):
            written[column] = pd.Series(_file_names(frame[column]), frame.index, object)
    written.columns = pd.Index(_file_names(frame.columns), dtype=object)
    with storage.replacing(path) as temporary:
        written.to_csv(temporary, index=False, lineterminator="\n", errors="surrogateescape")


def _file_names(texts: Iterable[Any]) -> list[Any]:
    return [image_names.from_text(text) if isinstance(text, str) else text for text in texts]


def parse(content: bytes) -> pd.DataFrame:
    """Return the table in a submission's bytes, as strings. Raises ValueError if it is none."""
    text = image_names.to_text(content.decode("utf-8-sig", "surrogateescape"))
    return pd.read_csv(io.StringIO(text), dtype="str", keep_default_na=False)


def describe(competition: Competition, own_hooks: Sequence[str]) -> dict[str, Any]:
    """Return what a bundle needs to know about a competition, as plain values.

    Runs store it, so that an export needs no plugin. `own_hooks` are those of `HOOKS` that the plugin implements.
    """
    form, target = competition.submission, competition.target
    return form.plain(target) | {
        "samples": list(form.sample),
        "columns": form.columns(target),
        "decision": form.usual(competition.task).to_plain(),
        "test": list(competition.test_patterns),
        "test_expressions": list(map(_expressions, competition.test_alternatives)),
        "slug": competition.kaggle,
        "by_table": isinstance(competition.test, ListedIds)
        or any(getattr(competition.train, name, False) for name in ("only_listed", "only_labelled")),
        "listed": _listed(competition.test) if isinstance(competition.test, ListedIds) else None,
        "own_hooks": list(own_hooks),
    }


def _expressions(layout: Sequence[str]) -> str | list[str]:
    """Return the regular expression of a layout's pattern, or those of several that are used together."""
    compiled = [patterns.compile_pattern(pattern).pattern for pattern in layout]
    return compiled[0] if len(compiled) == 1 else compiled


def _listed(layout: ListedIds) -> dict[str, Any]:
    """Return the file that lists the test images, and the columns with their ids and groups."""
    is_csv = isinstance(layout, CsvIds)
    return {"source": layout.source, "is_csv": is_csv, "id": getattr(layout, "id", ""), "group": layout.group}
