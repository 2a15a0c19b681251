"""A run ends within its budget on a machine that slows down, and resumes with the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.cli import main  # noqa: F401  heavy imports are shared
from kagglekit.pipeline.methods.budget_schedule import BudgetSchedule
from kagglekit.pipeline.methods.fold_models import planned_models
from kagglekit.recipe import Recipe
from kagglekit.runs import record, store
from kagglekit.runs.choices import BackbonePace, ModelPace, Pace, PaceCheck
from kagglekit.runs.stages import Stage, Stages
from kagglekit.training import budget, pacing, throughput
from kagglekit.training.budget import Work
from kagglekit.training.pacing import Pacer, Standing
from kagglekit.training.throughput import Speed
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, failed, succeeded
from tests.late import Clock, late, measured

MANY = settings(max_examples=25, suppress_health_check=list(HealthCheck))


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
    clock: Clock,
    folder: Path,
    recipe: Recipe,
    pace: Pace,
    before: float,
    slow: Callable[[float], float],
    *,
    steps: int = 40,
) -> list[float]:
    """Train all models on the clock; `slow` tells how many times as slow the machine is. Return their epochs."""
    run = store.Run(folder)
    run.seconds["data"] = clock.seconds = before
    job: Any = SimpleNamespace(run=run, recipe=recipe, backbones=recipe.features.backbone)
    waiting = planned_models(recipe, job.backbones)
    stages = Stages(folder, "", [Stage(model.name, ()) for model in waiting], print)
    schedule = BudgetSchedule(job, pace, stages)
    trained: list[float] = []

    def work(seconds: float) -> None:
        clock.seconds += seconds * slow(clock.seconds)

    while waiting:
        model, *waiting = waiting
        waiting = schedule.begin(model, waiting)
        own = pace.of_backbone(model.number // recipe.training.models)
        pacer = schedule.pacer(model, steps, clock.seconds)
        assert pacer is not None
        step = 0
        while True:
            pacer.check(step)
            if step / steps >= pacer.epochs(step):
                break
            assert 0 <= pacer.position(step, step / steps) < pace.epochs
            work(own.epoch / steps)
            step += 1
        assert pacer.position(step, step / steps) >= pace.epochs * 0.9, "the rate has come down"
        pacer.trained(step)
        work(own.model)
        pacer.finished()
        stages.make(model.name, lambda: None)
        trained.append(pacer.epochs(step))
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
    others=st.lists(st.floats(0.2, 5), max_size=2),
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
    others: list[float],
) -> None:
    """`others` are further backbones: so many times as slow as the first."""
    backbones = ["resnet18", "resnet34", "resnet50"][: 1 + len(others)]
    recipe = Recipe.of(
        backbone=tuple(backbones), budget=f"{minutes}m", models=models, validation=validation, holdout=images // 5
    )
    work = Work(images=images, test_images=images // 4, spent=10.0, native=(375, 500))
    speeds = [Speed(step * times, step * times / 3) for times in (1.0, *others)]
    try:
        plan = budget._fit_quick(recipe, backbones, work, minutes * 60, lambda _: speeds)
    except UserError:
        return
    assert plan.pace is not None
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pacing, "now", clock)
        simulated(
            clock,
            tmp_path_factory.mktemp("run"),
            recipe.changed(folds=plan.settings["folds"]),
            plan.pace,
            work.spent + budget._FIXED - budget._ENDING + 2 * images * sum(speed.forward for speed in speeds),
            lambda seconds: factor if seconds >= since * minutes * 60 else 1.0,
            steps=16,
        )
    assert clock.seconds <= 1.1 * minutes * 60


THREE = Recipe.of(method="finetune", backbone=("any",), folds=3)
PACE = Pace(budget=1000.0, least=900.0, epochs=6, epoch=40.0, model=10.0, ending=30.0)


def test_a_machine_as_fast_as_measured_trains_what_was_planned(clock: Clock, tmp_path: Path) -> None:
    assert simulated(clock, tmp_path, THREE, PACE, 60.0, lambda _: 1.0) == [6, 6, 6]


def test_what_was_measured_while_the_machine_was_busy_is_made_up_for(clock: Clock, tmp_path: Path) -> None:
    pace = Pace(budget=1000.0, least=1000.0, epochs=2, epoch=120.0, model=10.0, ending=30.0)
    first, *others = simulated(clock, tmp_path, THREE, pace, 60.0, lambda _: 1 / 3)
    assert first == 2
    assert min(others) >= 6, "a second look after the first model"


def test_a_slow_machine_trains_less_and_leaves_models_out_only_then(clock: Clock, tmp_path: Path) -> None:
    trained = simulated(clock, tmp_path, THREE, PACE, 60.0, lambda _: 2.0)
    assert len(trained) == 3
    assert all(2 <= epochs < 6 for epochs in trained), trained
    short = Pace(budget=300.0, least=300.0, epochs=1, epoch=70.0, model=5.0, ending=20.0)
    assert len(simulated(clock, tmp_path / "short", THREE, short, 30.0, lambda _: 2.0)) < 3


def test_each_backbone_has_a_pace_of_its_own(clock: Clock, tmp_path: Path) -> None:
    recipe = Recipe.of(method="finetune", backbone=("quick", "slow"), folds=2)
    others = (BackbonePace(epoch=100.0, model=40.0),)
    pace = Pace(budget=2000.0, least=1800.0, epochs=6, epoch=20.0, model=10.0, ending=30.0, others=others)
    assert simulated(clock, tmp_path / "as planned", recipe, pace, 60.0, lambda _: 1.0) == [6, 6, 6, 6]
    trained = simulated(clock, tmp_path / "late", recipe, pace, 60.0, lambda _: 2.0)
    assert clock.seconds <= 2000
    assert max(trained) - min(trained) < 2, "each of them trains less"


def test_several_backbones_are_measured_each(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"resnet18": Speed(0.01, 0.003), "resnet50": Speed(0.04, 0.01)}
    monkeypatch.setattr(throughput, "measure", lambda backbone, *_, **__: speeds[backbone])
    work = Work(images=3000, test_images=1000, spent=10.0, native=(375, 500))
    few = {"folds": 3, "image_size": (96,), "validation_share": 0.0}
    recipe = Recipe.of(backbone=tuple(speeds), method="finetune", budget="60m", **few)
    plan = budget.plan(recipe, list(speeds), work, "cpu")
    assert plan.pace is not None
    slow = plan.pace.of_backbone(1)
    assert (plan.pace.epoch, slow.epoch) == pytest.approx((20.0, 80.0))
    assert plan.settings["phases"] == ["all epochs=8"], "of 3 folds in 51 minutes"
    assert "at 100 and 25 images/s" in plan.reason


def test_images_of_the_data_s_own_validation_set_are_not_trained_on() -> None:
    recipe = Recipe.of(validation="valid", validation_share=0.0)
    work = Work(images=5000, test_images=100, spent=0.0, native=(64, 64), valid_images=4000)
    cost = budget._cost(recipe, work, 5, [Speed(0.01, 0.002)])
    assert cost.backbones[0].epoch == pytest.approx(10.0)
    assert cost.backbones[0].model == pytest.approx(budget._FIXED_OF_MODEL + 4100 * 0.002)


def test_a_killed_command_s_measurement_of_an_epoch_is_kept(clock: Clock, tmp_path: Path) -> None:
    def started() -> Pacer:
        standing = Standing(spent=0.0, epoch=40.0, waiting_epochs=0.0, waiting_seconds=0.0)
        path = tmp_path / "pace.json"
        return Pacer(path, PACE, standing, steps_per_epoch=16, most_epochs=6, started=clock.seconds)

    killed = started()
    for step in range(96):
        killed.check(step)
        clock.seconds += 2.0
    resumed = started()
    resumed.trained(96)
    assert pacing.of_model(tmp_path).epoch == 32.0


# Schedules


def pacer(folder: Path, *, epochs: int = 2, epoch: float = 10.0, budget_: float = 100.0) -> Pacer:
    pace = Pace(budget=budget_, least=budget_, epochs=epochs, epoch=epoch, model=0.0, ending=0.0)
    standing = Standing(spent=0.0, epoch=epoch, waiting_epochs=0.0, waiting_seconds=0.0)
    return Pacer(folder / "pace.json", pace, standing, steps_per_epoch=2, most_epochs=epochs, started=pacing.now())


def test_a_run_in_time_is_trained_as_without_a_budget(tmp_path: Path, clock: Clock) -> None:
    free = trainers.train(trainers.trainer(tmp_path / "free"))
    paced = trainers.trainer(tmp_path / "paced")
    paced.train((trainers.ALL,), lambda _: None, pacer=pacer(tmp_path / "paced"))
    assert trainers.same(free, trainers.state(paced))


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
    standing = BudgetSchedule(job, PACE, stages)._standing(killed, ())
    assert (standing.spent, standing.epoch) == (106.0, 20.0), "the model itself adds its 40 seconds"


def test_advice_after_a_cut_is_a_larger_budget(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    late(clock, monkeypatch, 10.0)
    phase = trainers.Phase(name="all", trains="all", epochs=8)
    for budget_, advised in ((100.0, "a larger --budget"), (1000.0, "all epochs=16")):
        folder = tmp_path / str(budget_)
        folder.mkdir()
        made = trainers.trainer(folder, trainers.CALM.changed(learning_rate=1e-9))
        made.train((phase,), lambda _: None, pacer=pacer(folder, epochs=8, budget_=budget_))
        (advice,) = (line for line in trainers.said(made).splitlines() if line.startswith("under-fitting"))
        assert advised in advice
        assert ("epochs=" in advice) == (budget_ > 100), "no fewer epochs than were planned"


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
    measured(monkeypatch, step=3.0, forward=0.1)
    totals: dict[str, Any] = {}
    progress = Console.progress
    with monkeypatch.context() as patch:
        patch.setattr(
            Console,
            "progress",
            lambda self, task, total, unit: progress(self, task, totals.setdefault(task, total), unit),
        )
        late(clock, patch, 60.0)  # of six images; it was measured at 3 seconds each
        done = succeeded(cli(*command))
    assert "3 folds at 32x32, one epoch" in done.out
    assert "10 min was too little on this machine: fold 2 is left out" in " ".join(done.out.split())
    run = finetuned.only_run(home)
    assert totals["fold0-0"]() == 6 * len(finetuned.history(run)), "the bar ends full"
    assert not (run / "models" / "fold2-0").exists()
    folds = pd.read_parquet(run / "folds.parquet").set_index("id")["fold"]
    assert set(pd.read_parquet(run / "oof.parquet")["id"]) == set(folds.index[folds < 2])
    assert len(pd.read_csv(run / "submission.csv")) == 12
    assert "left out to end in time: folds 2" in succeeded(cli("info", run.name)).out
    assert "this run has folds 0, 1; that one was left out" in failed(cli(*command, "--fold", "2"))
    before = finetuned.results(run)
    assert "already finished" in succeeded(cli(*command)).out
    lost = run / "models" / "fold1-0" / "all.safetensors"
    lost.unlink()
    (run / "result.json").unlink()
    succeeded(cli(*command))
    assert finetuned.results(run) == before, "the same decisions, whatever the clock says now"
    with monkeypatch.context() as patch:
        patch.setattr(store.Run, "locked", after_another(store.Run.locked, run))
        assert "already finished" in succeeded(cli(*command)).out
    succeeded(cli("report", run.name, "--text"))
    succeeded(cli("export", run.name))


def after_another(locked: Any, run: Path) -> Callable[..., Any]:
    """As if another command left folds out while this one waits for the lock."""
    path = run / "left-out.json"
    written = path.read_bytes()
    path.unlink()

    @contextmanager
    def waited(*given: Any) -> Iterator[None]:
        with locked(*given):
            path.write_bytes(written)
            yield

    return waited


def test_the_default_takes_the_smallest_plan_where_a_budget_of_the_user_is_refused(
    cli: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    measured(monkeypatch, step=20.0, forward=5.0)
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
