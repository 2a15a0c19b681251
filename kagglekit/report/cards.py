"""The galleries' pictures: read again from their files, with what the networks looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kagglekit.console import Console
from kagglekit.engines import devices, inference, portable
from kagglekit.errors import UserError
from kagglekit.report import attention, galleries, inside, pictures, shown
from kagglekit.report.findings import Findings

_LONGEST, _LONGEST_OF_MANY = 480, 320
"""Of a picture's sides, where there are few and many of them, in pixels."""
_MANY = 120
_MOST_ANSWERS = 10
_PART = "fold{}"


@dataclass
class Networks:
    """The run's networks, as far as they can still be had."""

    run: portable.Portable
    attention: attention.Attention = field(init=False)
    problem: str = ""
    """Why something could not be had of them."""

    def __post_init__(self) -> None:
        self.attention = attention.Attention(self.run)
        try:
            self.run.preprocessings()
        except UserError as error:
            self.problem = str(error)


@dataclass(frozen=True)
class _Picture:
    """An image file as it was read again."""

    source: str = ""
    shape: tuple[int, int] = (4, 3)
    seen: tuple[float, float, float, float] = (0, 0, 1, 1)
    """The part that the first network sees: top, left, height, width."""
    prepared: attention.Prepared | None = None


def make(found: Findings, networks: Networks, console: Console) -> list[shown.Gallery]:
    """Return the five views with their pictures."""
    chosen = galleries.choose(found.truth, found.probabilities, found.losses, found.recipe.seed)
    explained = {
        place for view in galleries.VIEWS if view.explained for row in chosen[view.key] for place in row.places.tolist()
    }
    read = _read(found, networks, _places(chosen), explained, console)
    overlays = _explain(found, networks, {place: read[place] for place in sorted(explained)}, console)
    return [
        shown.Gallery(
            key=view.key,
            title=view.title,
            meaning=view.meaning,
            explained=view.explained,
            rows=[
                shown.GalleryRow(
                    name=found.names[row.label],
                    of=row.of,
                    cards=[
                        _card(found, place, read[place], overlays.get(place, "") if view.explained else "")
                        for place in row.places.tolist()
                    ],
                )
                for row in chosen[view.key]
            ],
        )
        for view in galleries.VIEWS
    ]


def _places(chosen: Mapping[str, list[galleries.Row]]) -> list[int]:
    return sorted({place for rows in chosen.values() for row in rows for place in row.places.tolist()})


def _read(
    found: Findings, networks: Networks, places: list[int], explained: Iterable[int], console: Console
) -> dict[int, _Picture]:
    """Read and scale images in parallel; only what is shown of them stays in memory."""
    longest = _LONGEST if len(places) < _MANY else _LONGEST_OF_MANY
    paths, contents = found.table["path"].tolist(), found.table["content"].tolist()
    asked = set(explained)

    def read(place: int) -> _Picture:
        try:
            image = inference.decode(paths[place], bytes.fromhex(contents[place]))
        except UserError:
            return _Picture()
        prepared, part = None, (0.0, 0.0, 1.0, 1.0)
        if not networks.problem:
            first = next(iter(networks.run.preprocessings().values()))
            part = first.seen(*image.shape[:2])
            prepared = networks.attention.prepare(image) if place in asked else None
        return _Picture(pictures.photo(image, longest), (image.shape[1], image.shape[0]), part, prepared)

    workers = found.recipe.threads or devices.cores()
    read_all = dict(zip(places, inference.overlapped(places, read, workers), strict=True))
    gone = [place for place in places if not read_all[place].source]
    if gone:
        console.warn(
            f"report: {len(gone)} of {len(places)} pictures are left out: their files are gone or have changed since "
            f"the run, such as {paths[gone[0]]}"
        )
    return read_all


def _explain(found: Findings, networks: Networks, read: Mapping[int, _Picture], console: Console) -> dict[int, str]:
    """Return attention maps as pictures, by place."""
    predicted, folds = found.predicted, found.table["fold"].tolist()
    asked = {
        place: attention.Asked(picture.prepared, _PART.format(folds[place]), int(predicted[place]))
        for place, picture in read.items()
        if picture.prepared is not None
    }
    maps = _careful(networks, lambda: networks.attention.maps(list(asked.values())), console) or []
    return {
        place: pictures.overlay(evidence) for place, evidence in zip(asked, maps, strict=False) if evidence is not None
    }


def _careful(networks: Networks, work: Any, console: Console) -> Any:
    """Return what `work` returns; where a network can't be looked into, remember why and return None."""
    if networks.problem:
        return None
    try:
        return work()
    except UserError as error:
        networks.problem = str(error)
    except Exception as error:  # noqa: BLE001  timm has a thousand architectures: the rest of the report stands
        names = ", ".join(backbone.name for backbone in networks.run.backbones)
        networks.problem = f"{names} can't be looked into ({type(error).__name__}: {error!s:.200})"
    console.warn(f"report: what the network looked at is left out: {networks.problem}")
    return None


def _card(found: Findings, place: int, picture: _Picture, overlay: str) -> shown.Card:
    row = found.table.iloc[place]
    predicted, truth = int(found.predicted[place]), int(found.truth[place])
    top, left, tall, wide = picture.seen
    return shown.Card(
        id=str(row["id"]),
        truth=found.names[truth],
        predicted=found.names[predicted],
        right=predicted == truth,
        probability=float(found.probabilities[place, predicted]),
        of_truth=float(found.probabilities[place, truth]),
        loss=float(found.losses[place]),
        group=str(row["group"]) if "group" in found.table else "",
        source=picture.source,
        shape=picture.shape,
        overlay=overlay,
        box=(100 * left, 100 * top, 100 * wide, 100 * tall),
    )


def look_inside(found: Findings, networks: Networks, console: Console) -> list[shown.Inside]:
    """Return filters, and what answers to the surest right picture of each class, by one model of one fold."""
    return _careful(networks, lambda: _look_inside(found, networks, console), console) or []


def _look_inside(found: Findings, networks: Networks, console: Console) -> list[shown.Inside]:
    fold = int(found.table["fold"].iloc[0])
    places = _examples(found, fold)
    read = _read(found, networks, places, places, console)
    seen = []
    for network in networks.run.networks(_PART.format(fold))[: len(networks.run.backbones)]:
        model = networks.attention.model(network)
        answers = [
            shown.Answers(
                name=found.names[int(found.truth[place])],
                source=read[place].source,
                stages=inside.strongest_channels(model, network.backbone.preprocessing, prepared),
            )
            for place in places
            if (prepared := read[place].prepared) is not None
        ]
        seen.append(shown.Inside(network=network.backbone.name, filters=inside.filters(model), answers=answers))
    return seen


def _examples(found: Findings, fold: int) -> list[int]:
    """Return the surest image of each class, of a fold: the best known example of what the class looks like."""
    here = (found.table["fold"] == fold).to_numpy()
    own = found.probabilities[np.arange(len(found.truth)), found.truth]
    best = []
    for label in np.unique(found.truth[here])[:_MOST_ANSWERS]:
        places = np.flatnonzero(here & (found.truth == label))
        best.append(int(places[own[places].argmax()]))
    return best
