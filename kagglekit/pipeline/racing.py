"""The race of candidate backbones for frozen features, on a sample of the training images, before the budget is spent.

Each candidate is timed on this machine. If all fit into the budget there is nothing to decide: heads see each alone and
all side by side. Else heads on features of a sample predict it out-of-fold. Candidates that are clearly worse than the
best leave, the others go on to a larger sample. In the end the best gets its share of the budget first, then the others
while they fit. Features of the sample are those of the run, which finds them in the store.

N: images of the sample, D: features, C: columns of the target.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from kagglekit.base import devices, parallel
from kagglekit.base.arrays import Floats, Indices, Labels
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import Workspace
from kagglekit.competitions.competition import Competition
from kagglekit.data import folds
from kagglekit.data.tables import Scanned
from kagglekit.heads import heads, prediction
from kagglekit.heads.features import FeatureEngine, FeatureRows
from kagglekit.heads.training import Training
from kagglekit.metrics import clustered_error
from kagglekit.models import registry
from kagglekit.models.backbone import LAYERS, Backbone
from kagglekit.pipeline import views
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.features import FrozenFeatures, is_oblong, most_backbones
from kagglekit.recipe import Recipe
from kagglekit.runs.choices import Entrant, Race
from kagglekit.training.budget import SHARE_OF_RACED, Work

_ROUNDS = (250, 1000)
"""Images of the sample in each round."""
_LEAST = 100
"""Images of the smallest sample: with fewer there is no round."""
_SHARE_OF_FEATURES = 0.7
"""Part of a round's time that features take; heads take the rest."""
_TIMED = 16
"""Images that a candidate is timed on."""
_FOLDS = 3
_CLEARLY = 2.0
"""Standard errors by which a candidate must be worse than the best to leave."""
_SHARE = 0.075
"""Part of the budget that the race may take. Candidates that it leaves no time for are not tried."""
_LONGEST = 300.0
"""The same in seconds, where the budget is large."""
_MOST = 4
"""Most backbones that are chosen: each further one makes the heads slower, and gains less."""


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """What a race is held for."""

    recipe: Recipe
    tables: Scanned
    work: Work
    competition: Competition
    workspace: Workspace
    device: devices.Device


def race(held_for: Occasion, console: Console) -> Race | None:
    """Choose the frozen backbones of a run among its candidates; None if there are none but the default ones."""
    if held_for.recipe.training.method not in (table.AUTO, FrozenFeatures.name):
        return None
    oblong = is_oblong(held_for.recipe, held_for.work)
    candidates = registry.candidates(held_for.recipe.features, held_for.device, oblong=oblong)
    if not candidates:
        return None
    console.say(f"candidates for frozen backbones: {', '.join(candidates)}")
    return _Course(held_for, console).run(candidates)


@dataclass(frozen=True)
class _Opened:
    """A candidate that can be used, and the time that an image takes."""

    backbone: Backbone
    seconds: float


class _Course:
    """One race."""

    def __init__(self, held_for: Occasion, console: Console) -> None:
        recipe, competition, work = held_for.recipe, held_for.competition, held_for.work
        self._recipe, self._tables, self._task, self._console = recipe, held_for.tables, competition.task, console
        self._workspace = held_for.workspace
        self._views = views.allowed(recipe.features.feature_views, competition.mirror_classes)
        self._images = work.images + work.test_images
        budget = recipe.compute.budget_seconds(held_for.device)
        self._limit = SHARE_OF_RACED * budget
        """Seconds for the features of all images."""
        self._until = time.monotonic() + min(_SHARE * budget, _LONGEST)
        self._most = min(_MOST, most_backbones(recipe, work))
        self._opened: dict[str, _Opened] = {}
        self._entrants: dict[str, Entrant] = {}

    def run(self, candidates: Sequence[str]) -> Race:
        """Time the candidates, then compare those that are not too slow until all that are left fit."""
        alive = [spec for place, spec in enumerate(candidates) if self._enter(spec, needed=place == 0)]
        for count in _ROUNDS:
            size = min(count, len(self._tables.train), self._affordable(alive))
            if len(self._fitting(alive)) == len(alive) or size < min(_LEAST, len(self._tables.train)):
                break
            alive = self._round(alive, size)
            if size < count:
                break
        chosen = self._fitting(alive)
        for spec in alive:
            others = "those before it" if self._entrants[spec].loss is None else "better ones"
            self._note(spec, verdict="chosen" if spec in chosen else f"no time for it beside {others}")
        order = sorted(self._entrants.values(), key=lambda one: (one.backbone not in chosen, _rank(one, alive)))
        return Race(entrants=tuple(order), chosen=tuple(chosen), seconds=sum(map(self._seconds, chosen)))

    def _enter(self, spec: str, *, needed: bool) -> bool:
        """Export and time a candidate; return whether it takes part. A `needed` one always does."""
        self._entrants[spec] = Entrant(backbone=spec)
        if not needed and time.monotonic() > self._until:
            return self._note(spec, verdict="not tried: no time left for it")
        try:
            resolved = registry.resolve(spec, self._recipe.features, self._console.say)
            backbone = resolved.with_levels(self._tables.levels)
            timed = folds.sample(self._tables.train, _TIMED, self._recipe.data.seed)
            seconds = self._engine(backbone, self._views).seconds_per_image(timed["path"].tolist(), _contents(timed))
        except Exception as error:
            if spec in self._recipe.features.backbone or needed:
                raise
            # a file that only lies beside the data must not end the run
            self._console.warn(f"backbone {spec} can't be used: {error}")
            return self._note(spec, verdict="can't be used")
        self._opened[spec] = _Opened(backbone, seconds)
        self._note(spec, seconds=seconds)
        if not needed and self._seconds(spec) > self._limit:
            return self._note(spec, verdict=f"too slow: {self._seconds(spec) / 60:.0f} min for all images")
        return True

    def _round(self, alive: Sequence[str], count: int) -> list[str]:
        """Compare candidates on a sample; return those that go on, the best first."""
        losses, clusters = self._losses(alive, count)
        if not losses:
            return list(alive)
        order = sorted(alive, key=lambda spec: float(losses[spec].mean()))
        best, kept = losses[order[0]], []
        for spec in order:
            behind = losses[spec] - best
            mean, error = float(behind.mean()), clustered_error(behind, clusters) if behind.any() else 0.0
            self._note(spec, images=len(best), loss=float(losses[spec].mean()), behind=mean, error=error)
            if mean > _CLEARLY * error:
                self._note(spec, verdict="clearly worse")
            else:
                kept.append(spec)
        return kept

    def _losses(self, alive: Sequence[str], count: int) -> tuple[Mapping[str, Floats], Labels]:
        """Return out-of-fold losses of a sample, (N,) of each candidate, and the cluster of each image.

        There are none if the sample can't be split into folds.
        """
        data, task = self._recipe.data, self._task
        table_ = self._tables.train
        for size in (max(_ROUNDS), count):  # each sample is part of the next
            table_ = folds.sample(table_, size, data.seed, _FOLDS, task.strata(task.truth(table_["label"])))
        fold = self._deal(table_)
        if fold is None:
            return {}, np.zeros(0, np.int64)
        held = fold != folds.TRAIN_ONLY
        groups = table_["group"] if "group" in table_ else table_["id"]
        with self._console.progress("race", len(alive), "backbones") as advance:
            losses = {}
            for spec in alive:
                losses[spec] = self._of(spec, table_, fold)[held]
                advance(1)
        return losses, pd.factorize(groups[held])[0].astype(np.int64)

    def _deal(self, sample: pd.DataFrame) -> folds.Fold | None:
        strata = self._task.strata(self._task.truth(sample["label"]))
        groups = sample["group"].to_numpy() if "group" in sample else None
        try:
            return folds.split(strata, groups, min(_FOLDS, folds.most(strata, groups)), self._recipe.data.seed)
        except UserError:
            return None

    def _of(self, spec: str, sample: pd.DataFrame, fold: folds.Fold) -> Floats:
        """Return the out-of-fold loss of each image of a sample, (N,), by heads on one view."""
        seen, contents = self._views[:1], _contents(sample)
        engine = self._engine(self._opened[spec].backbone, seen)
        features = engine.compute(sample["path"].tolist(), contents, self._console)
        training = Training(
            task=self._task,
            rows=FeatureRows(features, 0, len(sample)),
            truth=self._task.truth(sample["label"]),
            groups=sample["group"].to_numpy(dtype=object) if "group" in sample else None,
            view_classes=(tuple(range(len(self._task.columns))),),
            balance=self._recipe.data.balance,
        )
        settings, found = replace(self._recipe.heads, head="auto"), np.zeros(len(sample))

        def of_part(part: int) -> tuple[Indices, Floats]:
            held = np.flatnonzero(fold == part)
            head = heads.fit(training, fold != part, settings, self._recipe.data.seed, self._workspace.cache)
            return held, training.losses(
                held, prediction.predict_rows(head, training.rows, held, training.view_classes)
            )

        with threadpool_limits(1, user_api="blas"):
            for held, own in parallel.overlapped(
                folds.scored(fold).tolist(), of_part, self._recipe.compute.num_threads
            ):
                found[held] = own
        return found

    def _affordable(self, alive: Sequence[str]) -> int:
        """Return how many images of a sample the candidates can be judged on in the time that is left."""
        each = sum(self._opened[spec].seconds / len(self._views) for spec in alive) / _SHARE_OF_FEATURES
        return max(0, int((self._until - time.monotonic()) / each))

    def _fitting(self, alive: Sequence[str]) -> list[str]:
        """Return those that fit into the budget in this order; at least the first."""
        kept, total = list(alive[:1]), self._seconds(alive[0])
        for spec in alive[1:]:
            if len(kept) < self._most and total + self._seconds(spec) <= self._limit:
                kept.append(spec)
                total += self._seconds(spec)
        return kept

    def _seconds(self, spec: str) -> float:
        return self._opened[spec].seconds * self._images

    def _engine(self, backbone: Backbone, seen: Sequence[str]) -> FeatureEngine:
        recipe = self._recipe
        return FeatureEngine(
            [backbone],
            seen,
            recipe.features.output,
            recipe.compute,
            self._workspace.features,
            also=LAYERS,
            batch_size=recipe.compute.feature_batch,
            warn=self._console.warn,
        )

    def _note(self, spec: str, **found: object) -> bool:
        """Record what was found of a candidate; return False."""
        self._entrants[spec] = replace(self._entrants[spec], **found)  # type: ignore[arg-type]
        return False


def _rank(one: Entrant, alive: Sequence[str]) -> float:
    return alive.index(one.backbone) if one.backbone in alive else math.inf if one.loss is None else 1000 + one.loss


def _contents(images: pd.DataFrame) -> list[bytes]:
    return [bytes.fromhex(content) for content in images["content"]]
