"""A run of method "features": its stages, and the heads of its members.

N: training images, R: readable test images, V: views, D: features, C: classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from kagglekit.base import parallel, shortlists
from kagglekit.base.arrays import Indices
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.shortlists import Wide
from kagglekit.data import folds
from kagglekit.heads import head_file, heads, prediction
from kagglekit.heads.features import FeatureEngine, FeatureRows, Features
from kagglekit.heads.layers import Head
from kagglekit.heads.training import Training
from kagglekit.models.backbone import LAYERS
from kagglekit.pipeline import blending, views
from kagglekit.pipeline.blending import Member
from kagglekit.pipeline.finished import Asked
from kagglekit.pipeline.job import Job
from kagglekit.pipeline.methods import pseudo_heads, pseudo_labels
from kagglekit.pipeline.methods.fitted import WHOLE
from kagglekit.pipeline.methods.members import MembersRun
from kagglekit.pipeline.predictions import Candidate, Predictions
from kagglekit.pipeline.watching import Watcher
from kagglekit.recipe import HeadSettings
from kagglekit.runs import filenames, record
from kagglekit.runs.record import TRANSDUCTIVE, BackboneRecord
from kagglekit.runs.store import Run

SIDE_BY_SIDE = "side by side"
"""The member whose heads see the features of several backbones."""
EARLIER = "earlier layers"
"""The member whose heads see the features of earlier layers, of all backbones that give them."""


@dataclass(frozen=True)
class Names:
    """What the members of a run are called. Without others there is nothing to blend."""

    whole: str
    """The member whose heads see all backbones: its name if there is only one."""
    others: Sequence[str] = ()
    """Single backbones if there are several, and earlier layers if there are any."""

    @classmethod
    def of(cls, backbones: Sequence[BackboneRecord]) -> Names:
        """Return the names of the members of a run on these backbones."""
        alone = record.names_of(backbones)
        earlier = [EARLIER] if any(LAYERS in backbone.outputs for backbone in backbones) else []
        return cls(SIDE_BY_SIDE, [*alone, *earlier]) if len(alone) > 1 else cls(alone[0], earlier)

    def head(self, part: str, member: str) -> str:
        """Return the name of a member's head in the file of heads."""
        return part if member == self.whole else f"{part}/{self.others.index(member)}"


class FeaturesRun(MembersRun):
    """The stages of one run. Each stage reads the files of earlier ones."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        heads.check(self.task, self.recipe.heads)
        pseudo_labels.warn_without_effect(job)
        self.views, self.view_classes = views.of_run(job.competition, job.recipe.features.feature_views, job.console)

    @property
    def features(self) -> Features:
        """Features of the training images, then of the readable test images. Missing ones are computed."""
        return self._computed[0]

    @cached_property
    def _computed(self) -> tuple[Features, Features]:
        """The features, and those of earlier layers."""
        job = self.job
        engine = FeatureEngine(
            job.backbones,
            self.views,
            job.recipe.features.output,
            job.recipe.compute,
            job.workspace.features,
            also=LAYERS,
            batch_size=job.batch_size,
            warn=job.console.warn,
        )
        before = self.run.provider
        if before is not None and before.used != engine.device:
            raise UserError(
                f"run {job.run.id} was computed on {before.used}, but onnxruntime uses {engine.device} now: "
                f"make {before.used} available again, or start a new run with --provider {engine.device}."
            )
        self.write_device(engine.device)
        paths = [*self.table["path"], *self.readable["path"]]
        contents = [*self.contents, *self.test_contents]
        return engine.compute(paths, contents, job.console), engine.stored(contents, LAYERS)

    @cached_property
    def names(self) -> Names:
        """What the members are called."""
        return Names.of([backbone.record() for backbone in self.job.backbones])

    @cached_property
    def members(self) -> list[Member]:
        """What the heads predict on each backbone alone, on earlier layers, and on several side by side."""
        return self._read_members()

    def _read_members(self, rounds: int = 0) -> list[Member]:
        scored = self.fold != folds.TRAIN_ONLY
        asked = Asked(ids=self.scored_ids, fold=self.fold[scored], test=self.readable["id"].tolist())
        return read_members(self.run, self.labels, self.names, asked, rounds)

    def seen(self) -> Mapping[str, Features]:
        """Return the features that the heads of each member see."""
        several = len(self.job.backbones) > 1
        alone = [self.features.of_backbone(place) for place in range(len(self.job.backbones))] if several else []
        others = [*alone, self._computed[1]]  # in the order of their names, the last of which is that of earlier layers
        return {self.names.whole: self.features} | dict(zip(self.names.others, others, strict=False))

    def training(self, seen: Features) -> Training:
        """Return the training data of heads that see some features."""
        return Training(
            task=self.task,
            rows=FeatureRows(seen, 0, len(self.table)),
            truth=self.truth,
            groups=self.groups,
            view_classes=self.view_classes,
            balance=self.recipe.data.balance,
        )

    def write_features(self) -> None:
        """Compute the features and record the device."""
        assert self.features.stores  # reading the property computes them

    def write_heads(self) -> None:
        """Fit and save the heads and their out-of-fold predictions."""
        fitted: dict[str, Head] = {}
        oofs: dict[str, Wide] = {}
        alone = not self.names.others  # of several members none says how good their blend will be
        for member, seen in self.seen().items():
            oofs[member], own = fit_heads(
                self.training(seen),
                self.fold,
                self.recipe.heads,
                "" if alone else member,
                seed=self.recipe.data.seed,
                threads=self.recipe.compute.num_threads,
                scratch=self.job.workspace.cache,
                console=self.job.console,
                watcher=self.job.watcher if alone else Watcher(),
            )
            fitted |= {self.names.head(part, member): head for part, head in own.items()}
        head_file.save(self.run.folder / filenames.HEADS, fitted)
        self._write(filenames.OOF_OF_HEADS, filenames.OOF_OF_MEMBERS, self.scored_ids, oofs)

    def write_predictions(self) -> None:
        """Predict the readable test images with the heads fitted on all training images."""
        fitted = head_file.load(self.run.folder / filenames.HEADS)
        tests = {}
        for member, seen in self.seen().items():
            rows = FeatureRows(seen, len(self.table), len(self.readable))
            head = fitted[self.names.head(WHOLE, member)]
            with threadpool_limits(1, user_api="blas"):
                tests[member] = prediction.predict_rows(head, rows, np.arange(rows.count), self.view_classes)  # (R, C)
        self._write(filenames.TEST_OF_HEADS, filenames.TEST_OF_MEMBERS, self.readable["id"].tolist(), tests)

    def write_pseudo_labels(self) -> None:
        """Fit heads anew from pseudo-labels, round after round, and write their predictions."""
        fold = np.concatenate([self.fold, np.full(len(self.readable), pseudo_heads.TEST)])
        seen = {member: self._with_test(own) for member, own in self.seen().items()}
        images = pseudo_heads.Images(seen=seen, fold=fold, same_shares=self.recipe.finish.class_shares)
        known = head_file.load(self.run.folder / filenames.HEADS)
        fitted = {
            (member, part): known[self.names.head(WHOLE if part == pseudo_heads.TEST else f"fold{part}", member)]
            for member in seen
            for part in images.parts
        }
        oofs: dict[str, Wide] = {}
        tests: dict[str, Wide] = {}
        for number in range(1, pseudo_heads.ROUNDS + 1):
            fitted = pseudo_heads.fit_again(
                images,
                fitted,
                self.recipe.heads,
                seed=self.recipe.data.seed,
                threads=self.recipe.compute.num_threads,
                scratch=self.job.workspace.cache,
                console=self.job.console,
            )
            oofs |= {_view(member, number): images.oof(fitted, member) for member in seen}
            tests |= {_view(member, number): images.test(fitted, member) for member in seen}
        self._write_views(filenames.OOF_OF_PSEUDO, self.scored_ids, oofs)
        self._write_views(filenames.TEST_OF_PSEUDO, self.readable["id"].tolist(), tests)

    def _rounds(self) -> Iterator[Candidate]:
        """Yield the predictions after each round of pseudo-labels, blended in each way that members are."""
        rounds = [self._read_members(number) for number in range(1, pseudo_heads.ROUNDS + 1)]
        for way in self.ways() if self.names.others else [None]:
            before = "" if way is None or way.name == blending.BEST else way.name
            for number, members in enumerate(rounds, 1):
                oof, test = (members[0].oof, members[0].test) if way is None else self.predicted(way, members)
                name = pseudo_labels.step("" if way is None else way.name, number)
                rows = self.all_requested(test)
                yield Candidate(name, oof, rows, note=TRANSDUCTIVE, changes=before, recalibrates=True)
                before = name

    def _with_test(self, seen: Features) -> Training:
        """Return the training data, and after it the test images, whose truth is unknown."""
        own, more = self.training(seen), len(self.readable)
        rows = FeatureRows(seen, 0, len(self.table) + more)
        return replace(own, rows=rows, truth=np.concatenate([own.truth, np.zeros(more, own.truth.dtype)]), groups=None)

    def _write(self, together: str, apart: str, ids: list[str], found: Mapping[str, Wide]) -> None:
        """Write the predictions of heads on all backbones to one file, and those of other members to another."""
        self.run.write_probabilities(together, ids, found[self.names.whole], self.labels)
        if self.names.others:
            self._write_views(apart, ids, {name: found[name] for name in self.names.others})

    def _write_views(self, file: str, ids: list[str], found: Mapping[str, Wide]) -> None:
        """Write several predictions of the same images to one file."""
        rows, view = shortlists.joined(list(found.values())), [name for name in found for _ in ids]
        self.run.write_probabilities(file, ids * len(found), rows, self.labels, view=view)

    def read_predictions(self) -> Predictions:
        """Read the predictions that the stages wrote; of several members, the best and the ways to blend them."""
        if self.names.others:
            found = super().read_predictions()
        else:
            (own,) = self.members
            found = self.predictions(own.oof, self.all_requested(own.test))
        if not pseudo_labels.are_wanted(self.job):
            return found
        return replace(found, candidates=(*found.candidates, *self._rounds()))


def fit_heads(
    training: Training,
    fold: folds.Fold,
    settings: HeadSettings,
    member: str = "",
    *,
    seed: int,
    threads: int,
    scratch: Path,
    console: Console,
    watcher: Watcher,
) -> tuple[Wide, dict[str, Head]]:
    """Return out-of-fold predictions of the scored images (N, C), and the heads by name, `all` last.

    `member` is named in messages. `watcher` is told of each fold.
    """
    import scipy.linalg  # noqa: F401  its BLAS must be loaded before threads are limited, or has no limit

    scoring: list[int] = folds.scored(fold).tolist()
    parts = {f"fold{part}": fold != part for part in scoring} | {WHOLE: np.ones(len(fold), dtype=bool)}
    fitted: dict[str, Head] = {}
    # Heads are fitted in parallel, with one BLAS thread each. numpy's and scipy's BLAS have separate thread pools,
    # which wait for one another on few cores (up to 8 times slower). One thread also gives the same numbers on any
    # number of cores.
    with console.progress("heads", len(parts), "heads") as advance, threadpool_limits(1, user_api="blas"):
        # the mlp draws from torch's global random generator
        workers = 1 if settings.head == "mlp" else threads
        work = parallel.overlapped(
            parts.values(), lambda part: heads.fit(training, part, settings, seed, scratch), workers
        )
        known = fold[fold != folds.TRAIN_ONLY]

        def held_out() -> Iterator[tuple[Indices, Wide]]:
            for number, (name, head) in zip((*scoring, None), zip(parts, work, strict=True), strict=True):
                fitted[name] = head
                advance(1)
                if number is not None:
                    indices = np.flatnonzero(fold == number)
                    rows = prediction.predict_rows(head, training.rows, indices, training.view_classes)
                    watcher.fold(number, training.truth[indices], rows)
                    yield np.flatnonzero(known == number), rows

        with closing(work):  # a watcher may end it
            oof = shortlists.arranged(held_out(), len(known))
    chosen = ", ".join(f"{name} {head.chosen}" for name, head in fitted.items())
    console.say(f"heads{f' on {member}' if member else ''}: {settings.head}, {chosen}")
    return oof, fitted


def _view(member: str, number: int) -> str:
    """Return what a member's predictions after a round of pseudo-labels are called in their file."""
    return f"{member}, round {number}"


def read_members(run: Run, labels: Sequence[str], names: Names, asked: Asked, rounds: int = 0) -> list[Member]:
    """Return what the heads of the other members predict, if there are any, and last what those on all backbones do.

    With `rounds` of pseudo-labels it is what the heads predict that were fitted in the last of them.
    """

    def read(oof: str, test: str, name: str, view: str = "") -> Member:
        if rounds:
            oof, test, view = filenames.OOF_OF_PSEUDO, filenames.TEST_OF_PSEUDO, _view(name, rounds)
        return Member(
            name=name,
            oof=run.read_probabilities(oof, asked.ids, labels, view),
            test=run.read_probabilities(test, asked.test, labels, view),
            alone=not rounds,
            note=TRANSDUCTIVE if rounds else "",
        )

    others = [read(filenames.OOF_OF_MEMBERS, filenames.TEST_OF_MEMBERS, name, name) for name in names.others]
    return [*others, read(filenames.OOF_OF_HEADS, filenames.TEST_OF_HEADS, names.whole)]
