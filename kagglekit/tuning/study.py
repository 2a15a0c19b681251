"""A study on disk: several commands, one after the other or at once, claim its trials and finish them.

Optuna's SQLite file holds the trials; one lock guards it. A running trial holds a lock of its own, which ends with its
process: a trial that runs without one was killed, and is run again.
"""

from __future__ import annotations

import logging
import sqlite3
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from filelock import FileLock, Timeout

from kagglekit.base.errors import UserError
from kagglekit.tuning import space as spaces
from kagglekit.tuning.space import Choices, Space, Typed

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
_PATIENCE = 60.0
"""Seconds to wait for SQLite, whose own readers are not ours."""
_RANDOM_TRIALS = 8
"""Trials before the sampler learns from them."""
_LEAST_RIVALS = 5
"""Number of trials that a trial must be compared with before it may be pruned."""
_LEAST_EXPLAINED = 8
"""Number of complete trials that say what mattered."""
_CLEARLY = 2.0
"""Standard errors by which a trial must be behind to be pruned."""
_MOST_KILLS = 3
"""A trial that has been killed this often, perhaps for its memory, is given up."""
ERROR, TYPED, SERIES, KILLS, RUN, SECONDS = "error", "settings", "series", "kills", "run", "seconds"
"""User attributes of trials."""


@dataclass(frozen=True)
class Claim:
    """A trial of this process."""

    trial: optuna.Trial
    typed: Typed
    """The searched settings with the values of this trial."""
    lock: FileLock


@dataclass(frozen=True, kw_only=True)
class Told:
    """A trial that counts."""

    number: int
    state: str
    """complete, pruned, failed or running."""
    typed: Typed
    score: float | None
    run: str
    seconds: float | None
    error: str


class Study:
    """A study of one space around the same default settings."""

    def __init__(self, folder: Path, name: str, space: Space, *, lower_is_better: bool, seed: int) -> None:
        """Open or create the study `name` in the file that all studies in `folder` share."""
        self.folder, self.space, self.seed = folder / name, space, seed
        self.exhausted = False
        """Whether every combination has been tried."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock")
        with self._alone():
            self._study = _open(folder / FILE, name, lower_is_better=lower_is_better)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other command read or write the file, and nothing warn of what is experimental in it."""
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    # --- trials

    def claim(self, most: int) -> Claim | None:
        """Return a new trial for this process; none if there are `most`, or every combination has been tried."""
        with self._alone():
            self._bury()
            waiting = any(trial.state.name == "WAITING" for trial in self._study.get_trials(deepcopy=False))
            if len(self._counted()) >= most or (self.exhausted and not waiting):
                return None
            return self._ask()

    def others_run(self) -> bool:
        """Return whether other processes have trials, which may yet be killed."""
        with self._alone():
            return any(trial.state.name == "RUNNING" for trial in self._study.get_trials(deepcopy=False))

    def trials(self) -> list[Told]:
        """Return all trials that count, in order."""
        with self._alone():
            return [_told(trial) for trial in self._counted()]

    def complete(self, claim: Claim, score: float, run: str, seconds: float) -> None:
        """Finish a trial with its score."""
        self._finish(claim, "COMPLETE", score, {RUN: run, SECONDS: seconds})

    def prune(self, claim: Claim, seconds: float) -> None:
        """Finish a trial that is not worth its time."""
        self._finish(claim, "PRUNED", None, {SECONDS: seconds})

    def fail(self, claim: Claim, error: str, seconds: float) -> None:
        """Finish a trial that has no score."""
        self._finish(claim, "FAIL", None, {ERROR: error, SECONDS: seconds})

    def put_back(self, claim: Claim) -> None:
        """End a trial so that a later command runs it again."""
        with self._alone():
            self._study.enqueue_trial(dict(claim.trial.params), user_attrs=_kept(claim.trial.user_attrs))
        self._finish(claim, "FAIL", None, {})

    def _finish(self, claim: Claim, state: str, score: float | None, attributes: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        with self._alone():
            for name, value in attributes.items():
                claim.trial.set_user_attr(name, value)
            self._study.tell(claim.trial, score, state=TrialState[state])
        claim.lock.release()
        Path(claim.lock.lock_file).unlink(missing_ok=True)

    def is_behind(self, claim: Claim, key: str, value: float, error: float, *, lower_is_better: bool) -> bool:
        """Note what a trial has reached at a point `key`; return whether it is clearly worse than the median there.

        `error` is the standard error of the value.
        """
        with self._alone():
            own = claim.trial.user_attrs.get(SERIES, {}) | {key: value}
            claim.trial.set_user_attr(SERIES, own)
            others = [
                trial.user_attrs[SERIES][key]
                for trial in self._counted()
                if trial.number != claim.trial.number and key in trial.user_attrs.get(SERIES, {})
            ]
        if len(others) < _LEAST_RIVALS:
            return False
        sign = 1.0 if lower_is_better else -1.0
        return bool(sign * (value - statistics.median(others)) > _CLEARLY * error)

    def importances(self) -> dict[str, float]:
        """Return how much of the scores' variance each setting explains (fANOVA); empty if that can't be told."""
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        with self._alone():
            complete = [trial for trial in self._counted() if trial.state.name == "COMPLETE"]
            if len(complete) < _LEAST_EXPLAINED:  # Optuna would give all settings the same share
                return {}
            try:
                found = get_param_importances(self._study, evaluator=FanovaImportanceEvaluator(seed=self.seed))
            except (ValueError, RuntimeError):  # too few trials, or all have the same score
                return {}
        return {name: float(share) for name, share in found.items()}

    # --- inside the lock

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Return the trials that count: not those that were killed, put back, or repetitions."""
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.name in ("RUNNING", "COMPLETE", "PRUNED") or ERROR in trial.user_attrs
        ]

    def _bury(self) -> None:
        """Fail the trials whose process has ended, and put them back."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name != "RUNNING" or not _is_free(self._lock_of(trial.number)):
                continue
            kills = int(trial.user_attrs.get(KILLS, 0)) + 1
            if kills < _MOST_KILLS:
                self._study.enqueue_trial(trial.params, user_attrs={KILLS: kills})
            else:
                own = optuna.trial.Trial(self._study, trial._trial_id)
                own.set_user_attr(ERROR, f"killed {kills} times, perhaps for its memory")
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _ask(self) -> Claim | None:
        """Return a trial that no other repeats."""
        from optuna.trial import TrialState

        while True:
            known = [trial.user_attrs.get(TYPED) for trial in self._counted()]
            seed = self.seed + len(self._study.get_trials(deepcopy=False))
            self._study.sampler = _sampler(seed)
            trial = self._study.ask()
            params = self._suggest(trial)
            typed = {name: spaces.shown(value) for name, value in params.items()}
            if typed not in known:
                lock = FileLock(self._lock_of(trial.number))
                lock.acquire()
                trial.set_user_attr(TYPED, typed)
                return Claim(trial, typed, lock)
            self._study.tell(trial, state=TrialState.FAIL)
            unknown = self._unknown(known, seed)
            if unknown is None:
                self.exhausted = True
                return None
            self._study.enqueue_trial(unknown)

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in spaces.ordered(self.space):
            values = self.space[name]
            if not spaces.has_effect(name, found):
                continue
            if isinstance(values, Choices):
                found[name] = trial.suggest_categorical(name, values.values)
            elif values.whole:
                found[name] = trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
            else:
                found[name] = trial.suggest_float(name, values.low, values.high, log=values.log)
        return found

    def _unknown(self, known: Sequence[Typed | None], seed: int) -> dict[str, Any] | None:
        """Return random parameters that no trial has; None if there are none."""
        for drawn in spaces.draws(self.space, np.random.default_rng(seed)):
            if {name: spaces.shown(value) for name, value in drawn.items()} not in known:
                return drawn
        return None

    def _lock_of(self, number: int) -> Path:
        return self.folder / f".trial-{number}.lock"


def _open(file: Path, name: str, *, lower_is_better: bool) -> optuna.Study:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)

    def connect() -> sqlite3.Connection:  # a path in a URL would have to do without some characters
        return sqlite3.connect(file, timeout=_PATIENCE, check_same_thread=False)

    try:
        storage = optuna.storages.RDBStorage("sqlite:///study", engine_kwargs={"creator": connect})
        direction: Literal["minimize", "maximize"] = "minimize" if lower_is_better else "maximize"
        return optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
        raise UserError(
            f"{file} can't be read ({' '.join(str(error).split()):.100}): move it away to begin the study again; its "
            "finished runs are found again."
        ) from error


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    from optuna.samplers import TPESampler

    # trials of other processes count as bad while they run, so that no two look in the same place
    return TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS, constant_liar=True)


def _is_free(lock: Path) -> bool:
    """Return whether no process holds a lock, and remove its file if so."""
    try:
        with FileLock(lock, timeout=0):
            pass
    except Timeout:
        return False
    lock.unlink(missing_ok=True)
    return True


def _kept(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {KILLS: attributes[KILLS]} if KILLS in attributes else {}


def _told(trial: optuna.trial.FrozenTrial) -> Told:
    attributes = trial.user_attrs
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running"}.get(trial.state.name, "failed")
    return Told(
        number=trial.number,
        state=state,
        typed=attributes.get(TYPED, {}),
        score=trial.value if state == "complete" else None,
        run=attributes.get(RUN, ""),
        seconds=attributes.get(SECONDS),
        error=attributes.get(ERROR, ""),
    )
