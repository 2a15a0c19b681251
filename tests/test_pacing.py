"""A run ends within its budget on a machine that slows down, and resumes with the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kagglekit.base.errors import UserError
from kagglekit.cli import main  # noqa: F401  heavy imports are shared
from kagglekit.pipeline.methods.budget_schedule import BudgetSchedule
from kagglekit.pipeline.methods.fold_models import planned_models
from kagglekit.recipe import Recipe
from kagglekit.runs import record
from kagglekit.runs.record import ModelPace, Pace, PaceCheck
from kagglekit.training import budget, pacing, throughput
from kagglekit.training.budget import Work
from kagglekit.training.learner import Learner
from kagglekit.training.pacing import Pacer, Standing
from kagglekit.training.throughput import Speed
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, failed, succeeded

MANY = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


class Clock:
    """A clock that goes on only where somebody works."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pacing, "now", made)
    return made


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)


# Decisions alone


def simulated(
    clock: Clock, folder: Path, pace: Pace, before: float, models: int, steps: int, slow: Callable[[float], float]
) -> list[float]:
    """Train all models on the clock; `slow` tells how many times as slow the machine is. Return their epochs."""
    trained: list[float] = []

    def work(seconds: float) -> None:
        clock.seconds += seconds * slow(clock.seconds)

    clock.seconds = before
    epoch = pace.epoch
    waiting = models
    while waiting:
        waiting -= 1
        standing = Standing(spent=clock.seconds, waiting=waiting, epoch=epoch)
        waiting = min(waiting, max(pacing.affordable_models(pace, standing) - 1, 0))
        standing = Standing(spent=clock.seconds, waiting=waiting, epoch=epoch)
        path = folder / str(len(trained)) / "pace.json"
        pacer = Pacer(path, pace, standing, steps_per_epoch=steps, most_epochs=budget.MAX_EPOCHS, started=pacing.now())
        step = 0
        while True:
            pacer.check(step)
            if step / steps >= pacer.epochs(step):
                break
            assert 0 <= pacer.position(step, step / steps) < pace.epochs
            work(pace.epoch / steps)
            step += 1
        assert pacer.position(step, step / steps) >= pace.epochs * 0.9, "the rate has come down"
        pacer.trained(step)
        work(pace.model)
        pacer.finished()
        trained.append(pacer.epochs(step))
        epoch = pacing.of_model(path.parent).epoch or epoch
    work(pace.ending)
    return trained


@MANY
@given(
    factor=st.floats(1, 2),
    images=st.integers(1000, 30_000),
    step=st.floats(0.002, 0.1),
    minutes=st.integers(5, 120),
    models=st.integers(1, 2),
    validation=st.sampled_from(("folds", "holdout")),
    since=st.floats(0, 0.7),
)
def test_a_run_ends_in_its_budget_on_a_machine_that_becomes_twice_as_slow(
    tmp_path_factory: pytest.TempPathFactory,
    factor: float,
    images: int,
    step: float,
    minutes: int,
    models: int,
    validation: str,
    since: float,
) -> None:
    recipe = Recipe.of(budget=f"{minutes}m", models=models, validation=validation, holdout=images // 5)
    work = Work(images=images, test_images=images // 4, spent=10.0, native=(375, 500))
    try:
        plan = budget._fit_quick(recipe, "resnet18", work, minutes * 60, lambda _: Speed(step, step / 3))
    except UserError:
        return
    assert plan.pace is not None
    count = (plan.settings["folds"] if validation == "folds" else 1) * models
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "now", clock)
        simulated(
            clock,
            tmp_path_factory.mktemp("run"),
            plan.pace,
            work.spent + budget._FIXED - budget._ENDING + 2 * images * step / 3,
            count,
            16,
            lambda seconds: factor if seconds >= since * minutes * 60 else 1.0,
        )
    assert clock.seconds <= 1.1 * minutes * 60


PACE = Pace(budget=1000.0, least=900.0, epochs=6, epoch=40.0, model=10.0, ending=30.0)


def test_a_machine_as_fast_as_measured_trains_what_was_planned(clock: Clock, tmp_path: Path) -> None:
    assert simulated(clock, tmp_path, PACE, 60.0, 3, 40, lambda _: 1.0) == [6, 6, 6]


def test_what_was_measured_while_the_machine_was_busy_is_made_up_for(clock: Clock, tmp_path: Path) -> None:
    pace = Pace(budget=1000.0, least=1000.0, epochs=2, epoch=120.0, model=10.0, ending=30.0)
    first, *others = simulated(clock, tmp_path, pace, 60.0, 3, 40, lambda _: 1 / 3)
    assert first == 2
    assert min(others) >= 6, "a second look after the first model"


def test_a_slow_machine_trains_less_and_leaves_models_out_only_then(clock: Clock, tmp_path: Path) -> None:
    trained = simulated(clock, tmp_path, PACE, 60.0, 3, 40, lambda _: 2.0)
    assert len(trained) == 3
    assert all(2 <= epochs < 6 for epochs in trained), trained
    clock.seconds = 0.0
    short = Pace(budget=300.0, least=300.0, epochs=1, epoch=70.0, model=5.0, ending=20.0)
    assert len(simulated(clock, tmp_path / "short", short, 30.0, 3, 40, lambda _: 2.0)) < 3


# Schedules


def pacer(folder: Path, *, epochs: int = 2, epoch: float = 10.0, budget_: float = 100.0) -> Pacer:
    pace = Pace(budget=budget_, least=budget_, epochs=epochs, epoch=epoch, model=0.0, ending=0.0)
    standing = Standing(spent=0.0, waiting=0, epoch=epoch)
    return Pacer(folder / "pace.json", pace, standing, steps_per_epoch=2, most_epochs=epochs, started=pacing.now())


def test_a_run_in_time_is_trained_as_without_a_budget(tmp_path: Path, clock: Clock) -> None:
    free = trainers.train(trainers.trainer(tmp_path / "free"))
    paced = trainers.trainer(tmp_path / "paced")
    paced.train((trainers.ALL,), lambda _: None, pacer=pacer(tmp_path / "paced"))
    assert trainers.same(free, trainers.state(paced))


def late(clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make each step take so long."""
    step = Learner.step

    def slow(self: Learner, *given: Any) -> Any:
        clock.seconds += seconds
        return step(self, *given)

    monkeypatch.setattr(Learner, "step", slow)


def test_the_rate_comes_down_however_short_the_training_becomes(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(clock, monkeypatch, 10.0)
    phase = trainers.Phase(name="all", trains="all", epochs=8)
    made = trainers.trainer(tmp_path)
    made.train((phase,), lambda _: None, pacer=pacer(tmp_path, epochs=8, epoch=10.0))
    rates = [row["rate"] for row in made.progress.history if row["kind"] == "step"]
    assert 6 <= len(rates) < 16, "half as many steps"
    assert rates[-1] < 0.2 * max(rates)
    assert "instead of 8, to end in time" in trainers.said(made)
    # trained again by the same decisions, though the machine is fast now
    again = trainers.trainer(tmp_path / "again")
    (tmp_path / "again").mkdir(exist_ok=True)
    shutil.copy(tmp_path / "pace.json", tmp_path / "again")
    monkeypatch.undo()
    trainers.spare(monkeypatch)
    again.train((phase,), lambda _: None, pacer=pacer(tmp_path / "again", epochs=8, epoch=10.0))
    assert trainers.same(trainers.state(made), trainers.state(again))


def test_a_resumed_model_s_own_time_counts_once(tmp_path: Path) -> None:
    run = SimpleNamespace(folder=tmp_path, seconds={"data": 5.0}, left_out=())
    job: Any = SimpleNamespace(run=run, recipe=Recipe.of(method="finetune", folds=2), backbones=["any"])
    stages: Any = SimpleNamespace(seconds=lambda: {"folds": 1.0, "fold0-0": 110.0})
    finished, killed = planned_models(job.recipe, job.backbones)
    for model, seconds in ((finished, 100.0), (killed, None)):
        (tmp_path / model.folder).mkdir(parents=True)
        check = PaceCheck(step=8, seconds=40.0, epochs=6.0)
        record.write(tmp_path / model.folder / "pace.json", ModelPace(checks=(check,), seconds=seconds, epoch=20.0))
    standing = BudgetSchedule(job, PACE, stages)._standing(killed)
    assert (standing.spent, standing.epoch) == (106.0, 20.0), "the model itself adds its 40 seconds"


# Whole commands


@pytest.fixture
def command(tiny_export: tuple[str, Path], tmp_path: Path, home: Path) -> tuple[str, ...]:
    spec, cache = finetuned.small_export(tiny_export)
    shutil.copytree(cache, home / ".cache")
    archive = drawing.dogs(tmp_path, train=40)
    words = finetuned.command(archive, spec, "--folds", "3")
    return tuple(word if word != "30m" else "10m" for word in words)


def test_a_run_that_falls_behind_says_what_it_leaves_out_and_is_a_whole_run(
    cli: Cli, command: tuple[str, ...], clock: Clock, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: Speed(step=3.0, forward=0.1))
    with monkeypatch.context() as patch:
        late(clock, patch, 60.0)  # of six images; it was measured at 3 seconds each
        done = succeeded(cli(*command))
    assert "3 folds at 32x32, one epoch" in done.out
    assert "10 min was too little on this machine: fold 2 is left out" in " ".join(done.out.split())
    run = finetuned.only_run(home)
    assert not (run / "models" / "fold2-0").exists()
    folds = pd.read_parquet(run / "folds.parquet").set_index("id")["fold"]
    assert set(pd.read_parquet(run / "oof.parquet")["id"]) == set(folds.index[folds < 2])
    assert len(pd.read_csv(run / "submission.csv")) == 12
    assert "left out to end in time: folds 2" in succeeded(cli("info", run.name)).out
    before = finetuned.results(run)
    assert "already finished" in succeeded(cli(*command)).out
    lost = run / "models" / "fold1-0" / "all.safetensors"
    lost.unlink()
    (run / "result.json").unlink()
    succeeded(cli(*command))
    assert finetuned.results(run) == before, "the same decisions, whatever the clock says now"
    succeeded(cli("report", run.name, "--text"))
    succeeded(cli("export", run.name))


def test_the_default_takes_the_smallest_plan_where_a_budget_of_the_user_is_refused(
    cli: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: Speed(step=20.0, forward=5.0))
    line = failed(cli(*command))
    assert "budget = '10m': 10 min is too little for one epoch of 40 images" in line
    assert "3 folds at 32x32: use --budget 46m or more" in line
    at = command.index("--budget")
    done = succeeded(cli(*command[:at], *command[at + 2 :]))
    assert "one epoch: a step was measured at 0 images/s, budget 20 min is too little, so this takes about" in done.out
    assert "12 epochs instead of 1, since the machine is faster than measured" in done.out
    (decided,) = (home / "dogs-vs-cats" / ".decided").glob("*.json")
    assert json.loads(decided.read_text())["pace"]["least"] > 20 * 60


def test_the_fastest_window_is_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(throughput.time, "perf_counter", clock)
    times = iter([9.0, *[5.0, 1.0] * 2, 1.0, 1.0, 8.0, 8.0])

    def work() -> None:
        clock.seconds += next(times)

    assert throughput._seconds(work) == 1.0
