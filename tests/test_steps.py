"""The table of steps: what each gains, with its interval, and whether it is kept."""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from kagglekit import metrics
from kagglekit.base.console import Console
from kagglekit.pipeline import gates, steps
from kagglekit.pipeline.gates import Scored
from kagglekit.runs.record import FinishingStep, Result

STEP = FinishingStep(step="clip", value=0.001, before=0.5, after=0.4, gain=0.1, low=0.05, high=0.15, kept=True)
RESULT = Result(
    metric="log loss",
    lower_is_better=True,
    out_of_fold=0.4,
    before_finish=0.5,
    clusters=60,
    scored_images=60,
    validation="folds",
)


def row(**changes: object) -> steps.Row:
    (found,) = steps.rows(dataclasses.replace(RESULT, finish=(dataclasses.replace(STEP, **changes),)))  # type: ignore[arg-type]
    return found


def test_a_step_is_a_row() -> None:
    assert dataclasses.astuple(row()) == (
        "clip",
        "0.001",
        "0.50000",
        "0.40000",
        "+0.10000",
        "0.05000 to 0.15000",
        True,
    )
    assert row(value=None, text="0.5, 1.5").value == "0.5, 1.5"
    assert row(value=None).value == ""
    assert row(value=None, note="transductive").value == "transductive"


def test_a_gain_of_nothing_has_no_minus() -> None:
    found = row(after=0.5, gain=-1e-9, low=-2e-9, high=1e-9, kept=False)
    assert (found.gain, found.interval) == ("+0.00000", "0.00000 to 0.00000")


def test_a_kept_gain_is_shown_with_as_many_digits_as_it_needs() -> None:
    found = row(after=0.5 - 3.4e-7, gain=3.4e-7, low=1.2e-8, high=6e-7)
    assert (found.gain, found.interval) == ("+0.00000034", "0.00000001 to 0.00000060")
    assert (found.before, found.after) == ("0.50000000", "0.49999966")


def test_steps_of_older_runs_and_of_one_group_have_no_upper_bound() -> None:
    plain = STEP.to_plain()
    del plain["high"]
    assert FinishingStep.from_plain(plain).to_plain() == plain
    assert row(high=None).interval == "from 0.05000"
    alone = dataclasses.replace(RESULT, clusters=1, finish=(STEP,))
    assert steps.rows(alone)[0].interval == "unknown, one group"


def test_the_table_fits_a_terminal_of_eighty_columns() -> None:
    weights = dataclasses.replace(STEP, step="thresholds", value=None, text="0.0812 to 0.5")
    smoothed = dataclasses.replace(STEP, step="mean of 10 neighbours", value=None, note="transductive", kept=False)
    file = io.StringIO()
    console = Console(file)
    console.rich.width = 80
    steps.show(dataclasses.replace(RESULT, finish=(STEP, weights, smoothed)), console)
    said = " ".join(file.getvalue().split())
    assert "clip 0.001 +0.10000 0.05000 to 0.15000 yes" in said
    assert "thresholds 0.0812 to 0.5 +0.10000 0.05000 to 0.15000 yes" in said
    assert "mean of 10 neighbours transductive +0.10000 0.05000 to 0.15000 no" in said
    assert max(map(len, file.getvalue().splitlines())) <= 80
    empty = io.StringIO()
    steps.show(RESULT, Console(empty))
    assert empty.getvalue() == ""


def test_runs_have_their_steps_side_by_side() -> None:
    first = dataclasses.replace(RESULT, finish=(STEP,))
    second = dataclasses.replace(RESULT, finish=(dataclasses.replace(STEP, step="mirrored view", kept=False),))
    assert steps.beside([first, second]) == [
        ("clip", "+0.10000, kept", ""),
        ("mirrored view", "", "+0.10000, not kept"),
    ]
    assert (steps.kept(first), steps.kept(second)) == ("clip", "")


def test_a_step_is_kept_where_the_interval_that_is_shown_is_above_zero() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 200)
    plain = np.clip(random.dirichlet([1, 1], 200), 0.05, 0.95)
    scored = Scored(truth, plain, np.arange(200), np.arange(200) % 5)
    fates = set()
    for share in (-0.05, 0.0, 0.01, 0.05):
        after = plain + share * (np.eye(2)[truth] - plain) + random.normal(0, 0.02, (200, 1)) * [1, -1]
        found = gates.judge(scored, plain, np.clip(after, 0.01, 0.99), metrics.log_loss(), 0)
        assert found.low < found.gain < found.high
        assert found.kept == (found.low > 0)
        fates.add(found.kept)
    assert fates == {True, False}
