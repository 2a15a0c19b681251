"""Numbers of which images may lack some: nothing is learnt from what is unknown, and nothing scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kagglekit import Columns, Numbers
from kagglekit.base.arrays import centres, spreads
from kagglekit.heads import losses
from kagglekit.runs import store
from kagglekit.tasks import kinds
from kagglekit.training import losses as training_losses
from tests.conftest import Cli, succeeded
from tests.finetuned import newest
from tests.test_label_tables import competition, data, images, labelled, read, refused
from tests.test_runs_of_tasks import COUNT, PLUGIN, draw

SOME = Numbers(["x", "y", "z"], missing=True)
UNKNOWN = float("nan")
TRUTH = np.array([[1.0, UNKNOWN, 3.0], [UNKNOWN, 2.0, 5.0], [3.0, 6.0, UNKNOWN]])


@pytest.mark.parametrize("head", ["logistic", "mlp"])
def test_a_run_learns_and_scores_what_is_known(head: str, cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    draw(tmp_path / "data")
    table = pd.read_csv(tmp_path / "data" / "train.csv")
    hidden = np.random.default_rng(1).random((COUNT, 3)) < [0.1, 0.5, 0.5]
    hidden[:, 0] &= ~hidden[:, 1:].all(axis=1)
    table[["r", "g", "b"]] = table[["r", "g", "b"]].mask(hidden)
    table.to_csv(tmp_path / "data" / "train.csv", index=False)
    target = "Numbers(['r', 'g', 'b'], low=0, high=1, missing=True)"
    (tmp_path / "task.py").write_text(PLUGIN.format(target, "Columns(['r', 'g', 'b'])", "Values()", "rmse"))
    words = ("--data", tmp_path / "data", "--backbone", tiny, "--folds", "3", "--method", "features")
    more = ("--set", f"head={head}", "--set", "regularisation_grid=0.03,0.3", "--set", "mlp_epochs=20")
    succeeded(cli("run", tmp_path / "task.py", *words, *more))
    run = store.Run(newest(home, "task"))
    ids = run.oof().known("id")["id"].tolist()
    known = table.set_index("id").loc[ids, ["r", "g", "b"]].to_numpy()
    errors = run.oof().of(ids).clip(0, 1) - known
    assert run.finished().out_of_fold == pytest.approx(np.sqrt(np.nanmean(errors**2)))
    assert run.finished().also == {"mean absolute error": pytest.approx(np.nanmean(np.abs(errors)))}
    assert (np.nanmean(errors**2, axis=0) < np.nanvar(known, axis=0)).all(), "better than the mean"
    assert "WARNING" not in succeeded(cli("report", run.id)).out
    assert "unknown" in (run.folder / "report.html").read_text(encoding="utf-8")


def test_what_a_task_knows_of_unknown_numbers() -> None:
    task = kinds.of(SOME)
    assert not task.faults(["1|2|3", "|2|nan", "1|NA|"])
    assert task.faults(["||", "1|x|3", "1|2"]) == {
        "||": "'||' has no number",
        "1|x|3": "'x' is not a number",
        "1|2": "'1|2' has 2 numbers, not 3",
    }
    assert np.array_equal(task.truth(["1||3", "|2|5", "3|6|NaN"]), TRUTH, equal_nan=True)
    assert task.prior(TRUTH).tolist() == [2, 4, 4]
    assert task.losses(TRUTH, TRUTH + 3).tolist() == pytest.approx([6, 6, 6])
    assert task.counts(TRUTH) == [("x", 2), ("y", 2), ("z", 2)]
    assert task.words(TRUTH)[0] == "1, unknown, 3"
    cases = task.cases(TRUTH, np.zeros((3, 3)), np.zeros((3, 3)))
    assert cases.images.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.isfinite(cases.losses).all()
    assert task.second(TRUTH, np.zeros((3, 3))) == ("mean absolute error", pytest.approx(20 / 6))
    learnt = task.learnt_from(TRUTH, np.array([0]))
    assert learnt.units.tolist() == [1, 1, 1]
    assert len(set(task.strata(np.tile(TRUTH, (10, 1))).tolist())) > 1


def test_means_and_spreads_are_of_what_is_known() -> None:
    columns = np.array([[1.0, UNKNOWN], [UNKNOWN, UNKNOWN], [3.0, UNKNOWN]])
    assert centres(columns).tolist() == [2, 0]
    assert spreads(columns).tolist() == [1, 1]


def test_unknown_goals_pull_no_score() -> None:
    goals = np.array([[1.0, UNKNOWN]], np.float32)
    scores = np.array([[[3.0, 7.0], [1.0, 9.0]]], np.float32)
    assert losses.SquaredError().rows(scores, goals).tolist() == [[2.0, 0.0]]
    assert scores.tolist() == [[[2.0, 0.0], [0.0, 0.0]]], "the derivative"
    loss = training_losses.of(kinds.of(Numbers(["x", "y"], missing=True, means=[0, 0], scales=[1, 1])))
    tensor = torch.tensor([[3.0, 7.0]], requires_grad=True)
    total = loss.total(tensor, torch.tensor([[1.0, UNKNOWN]]))
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 2
    assert tensor.grad is not None
    assert tensor.grad.tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize(
    ("target", "table", "words"),
    [
        (Numbers(["x", "y"]), "id,x,y\na,1,\nb,2,3\n", "'' is not a number: declare Numbers(…, missing=True)"),
        (Numbers(["x", "y"], missing=True), "id,x,y\na,,\nb,2,3\n", "'|' has no number"),
        (Numbers(["x", "y"], missing=True), "id,x,y\na,1,\nb,2,\n", "no training image has the number 'y'"),
        (Numbers(["x", "y"], low=0, missing=True), "id,x,y\na,1,\nb,-2,1\n", "'-2' is outside 0 to inf"),
    ],
)
def test_what_is_missing_undeclared_or_everywhere_is_one_line(
    target: Numbers, table: str, words: str, tmp_path: Path
) -> None:
    files = data(tmp_path, images("a", "b") | {"train.csv": table})
    assert words in refused(competition(target=target, train=labelled(Columns())), files)


def test_one_number_can_not_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing is for several numbers"):
        Numbers(["x"], missing=True)
    files = data(tmp_path, images("a", "b") | {"train.csv": "id,x,y\na,1,\nb,2,3\n"})
    described = competition(target=Numbers(["x", "y"], missing=True), train=labelled(Columns()))
    assert read(described, files)[1]["label"].tolist() == ["1|", "2|3"]
