"""Pictures and attention maps of the galleries. The images are read again from their files."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kagglekit.base import native_output, parallel
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.deploy import fitted_run
from kagglekit.pages import pictures
from kagglekit.report import channels, galleries, saliency, shown
from kagglekit.runs.findings import Findings
from kagglekit.tasks.cases import NOWHERE, Cases

Result = TypeVar("Result")
_LONGEST, _LONGEST_OF_MANY = 480, 320
"""Longer side of a picture in pixels, if there are few pictures and if there are many."""
_MANY = 120
MOST_ANSWERS = 10
"""Number of classes for which the channels of a picture are shown."""
_PART = "fold{}"
_WHOLE = (0.0, 0.0, 1.0, 1.0)


class Networks:
    """The networks of a run, as far as they are available and can be inspected."""

    def __init__(self, run: fitted_run.FittedRun, console: Console) -> None:
        self.run = run
        self._console = console
        self.problems: dict[str, str] = {}
        """Missing part of the report -> reason."""
        self.attention = self.careful("networks", lambda: saliency.Attention(run))

    def careful(self, what: str, work: Callable[[], Result]) -> Result | None:
        """Return the result of `work`. If it fails, warn, note the reason and return None."""
        try:
            return work()
        except UserError as error:
            self.problems[what] = str(error)
        except Exception as error:  # noqa: BLE001  some of timm's architectures may fail: write the rest of the report
            self.problems[what] = f"the network can't be inspected ({type(error).__name__}: {error!s:.200})"
        self._console.warn(f"report: {what} are left out: {self.problems[what]}")
        return None

    @property
    def unexplained(self) -> str:
        """Reason why there are no attention maps; empty if there are."""
        return self.problems.get("networks") or self.problems.get("attention maps") or ""


@dataclass(frozen=True)
class _Picture:
    """An image file, read again."""

    source: str = ""
    shape: tuple[int, int] = (4, 3)
    prepared: saliency.Prepared | None = None


@dataclass(frozen=True)
class _Overlay:
    """An attention map over a picture."""

    source: str = ""
    box: saliency.Box = _WHOLE


def make(found: Findings, networks: Networks, console: Console) -> list[shown.Gallery]:
    """Return the galleries of all views."""
    cases, views = found.cases, galleries.views_of(found.cases)
    chosen = galleries.choose(cases, found.recipe.data.seed)
    shown_cases = {view.key: {case for row in chosen[view.key] for case in row.cases.tolist()} for view in views}
    explained = sorted(set().union(*(shown_cases[view.key] for view in views if view.explained)))
    places = sorted({int(cases.images[case]) for case in set().union(*shown_cases.values())})
    read = _read(found, networks, places, {int(cases.images[case]) for case in explained}, console)
    overlays = _explain(found, networks, read, explained)
    words = _words(found, places)
    return [
        shown.Gallery(
            key=view.key,
            title=view.title,
            meaning=view.meaning,
            rows=[
                shown.GalleryRow(
                    name=cases.categories[row.category],
                    of=row.of,
                    cards=[
                        _card(found, case, words, read, overlays.get(case) if view.explained else None)
                        for case in row.cases.tolist()
                    ],
                )
                for row in chosen[view.key]
            ],
        )
        for view in views
    ]


@native_output.decoders_silenced()
def _read(
    found: Findings, networks: Networks, places: list[int], explained: Collection[int], console: Console
) -> dict[int, _Picture]:
    """Read and scale images in parallel. Only the scaled pictures stay in memory."""
    levels = networks.run.levels
    longest = _LONGEST if len(places) < _MANY else _LONGEST_OF_MANY
    paths, contents = found.table["path"].tolist(), found.table["content"].tolist()

    def read(place: int) -> _Picture:
        image = pictures.read_again(paths[place], contents[place], levels)
        if image is None:
            return _Picture()
        wanted = networks.attention is not None and place in explained
        prepared = networks.attention.prepare(image) if wanted and networks.attention else None
        return _Picture(pictures.photo(image, longest), (image.shape[1], image.shape[0]), prepared)

    workers = found.recipe.compute.num_threads
    read_all = dict(zip(places, parallel.overlapped(places, read, workers), strict=True))
    gone = [place for place in places if not read_all[place].source]
    if gone:
        console.warn(
            f"report: {len(gone)} of {len(places)} pictures are left out: their files are gone or have changed since "
            f"the run, for example {paths[gone[0]]}"
        )
    return read_all


def _explain(
    found: Findings, networks: Networks, read: Mapping[int, _Picture], explained: Sequence[int]
) -> dict[int, _Overlay]:
    """Return attention maps as pictures, by index of the case."""
    looked, folds, cases = networks.attention, found.table["fold"].tolist(), found.cases
    asked: dict[int, saliency.Asked] = {}
    for case in explained:
        place = int(cases.images[case])
        prepared = read[place].prepared
        if prepared is not None:
            asked[case] = saliency.Asked(prepared, _PART.format(folds[place]), int(cases.columns[case]))
    if looked is None or not asked:
        return {}

    def maps() -> list[saliency.Evidence | None]:
        made = looked.maps(list(asked.values()))
        if not any(made):
            raise UserError("this network's features can't be mapped to positions in an image.")
        return made

    made = networks.careful("attention maps", maps) or []
    pairs = zip(asked, made, strict=False)
    return {
        case: _Overlay(pictures.overlay(evidence.values), evidence.box)
        for case, evidence in pairs
        if evidence is not None
    }


def _words(found: Findings, places: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Return place -> truth and prediction in words."""
    truth, predicted = (found.task.words(values[list(places)]) for values in (found.truth, found.decided))
    return dict(zip(places, zip(truth, predicted, strict=True), strict=True))


def _card(
    found: Findings,
    case: int,
    words: Mapping[int, tuple[str, str]],
    read: Mapping[int, _Picture],
    overlay: _Overlay | None,
) -> shown.Card:
    cases = found.cases
    place = int(cases.images[case])
    row, picture, (truth, predicted) = found.table.iloc[place], read[place], words[place]
    overlay = overlay or _Overlay()
    top, left, tall, wide = overlay.box
    return shown.Card(
        id=str(row["id"]),
        truth=truth,
        predicted=predicted,
        right=bool(cases.right[case]),
        probability=float(cases.confidence[case]) if cases.margin[case] >= 0 else math.nan,
        of_truth=float(cases.of_truth[case]),
        loss=float(cases.losses[case]),
        group=str(row["group"]) if "group" in found.table else "",
        source=picture.source,
        shape=picture.shape,
        overlay=overlay.source,
        box=(100 * left, 100 * top, 100 * wide, 100 * tall),
    )


def look_inside(found: Findings, networks: Networks, console: Console) -> list[shown.Inside]:
    """Return filters, and the strongest channels for one example per category, of models not trained on it."""
    if networks.attention is None:
        return []
    return networks.careful("filters and channels", lambda: _look_inside(found, networks, console)) or []


def _look_inside(found: Findings, networks: Networks, console: Console) -> list[shown.Inside]:
    assert networks.attention is not None
    names = _examples(found.cases)
    places = list(names)
    read = _read(found, networks, places, places, console)
    backbones = list({backbone.sha256: backbone for backbone in networks.run.predicting}.values())
    filters: dict[str, str | None] = {}
    answers: dict[str, list[shown.Answers]] = {}
    for place in places:
        picture = read[place]
        part = _PART.format(found.table["fold"].iloc[place])
        first = {network.backbone.sha256: network for network in reversed(networks.run.fitted(part).networks)}
        for backbone in backbones:
            network = first[backbone.sha256]
            model = networks.attention.model(network)
            if backbone.sha256 not in filters:
                filters[backbone.sha256] = channels.filters(model)
            if picture.prepared is not None:
                stages = channels.strongest_channels(model, backbone.preprocessing, picture.prepared)
                name = names[place]
                answered = shown.Answers(name=name, source=picture.source, stages=stages)
                answers.setdefault(backbone.sha256, []).append(answered)
    return [
        shown.Inside(
            network=backbone.name, filters=filters.get(backbone.sha256), answers=answers.get(backbone.sha256, [])
        )
        for backbone in backbones
    ]


def _examples(found: Cases) -> dict[int, str]:
    """Return, for each category, its most confident image -> its name."""
    best: dict[int, str] = {}
    for category in np.unique(found.true[found.true != NOWHERE])[:MOST_ANSWERS]:
        cases = np.flatnonzero(found.true == category)
        own = found.confidence if np.isnan(found.of_truth).all() else found.of_truth
        best[int(found.images[cases[own[cases].argmax()]])] = found.categories[category]
    return best
