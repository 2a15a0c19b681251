"""Inside a fine-tuning run: who learns from what, views and their classes, the learning-rate finder's command."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from kagglekit.pipeline import tta
from kagglekit.pipeline.methods.finetune_run import FinetuneRun
from kagglekit.pipeline.tta import MIRROR, PLAIN
from kagglekit.recipe import FinishSettings
from kagglekit.training.inference import TrainedModel
from kagglekit.training.loop import Trainer
from tests import drawing, finetuned, trainers
from tests.conftest import Cli, failed, succeeded
from tests.finetuned import ONE_MODEL, TWO_FOLDS, command

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def exported(tiny_export: tuple[str, Path]) -> tuple[str, Path]:
    return finetuned.small_export(tiny_export)


@pytest.fixture
def tiny(exported: tuple[str, Path], home: Path) -> str:
    spec, cache = exported
    shutil.copytree(cache, home / ".cache")
    return spec


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    trainers.spare(monkeypatch)


def learns(method: FinetuneRun, fold: int, number: int = 0) -> tuple[Trainer, list[str], list[str]]:
    """Train a model; return what trained it, and the ids of its training and validation images."""
    seen: list[Trainer] = []
    model = next(model for model in method.fold_models if (model.fold, model.number) == (fold, number))
    original = method.trainer

    def trainer(*given: Any) -> Trainer:
        seen.append(original(*given))
        return seen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "trainer", trainer)
        method.train(model)
    ids = dict(zip(method.contents, method.table["id"], strict=True))
    data = seen[0].data
    return seen[0], [ids[content] for content in data.contents], [ids[content] for content in data.validation_contents]


# Who learns from what


def test_neither_folds_nor_what_chooses_epochs_split_a_driver(tiny: str, tmp_path: Path) -> None:
    job = finetuned.prepared(
        drawing.drivers(tmp_path, each=1),
        tiny,
        "state-farm",
        folds=3,
        phases="all epochs=1",
        validation_share=0.25,
        models=2,
    )
    method = finetuned.method(job)
    driver = dict(zip(method.table["id"], method.table["group"], strict=True))
    chose = []
    for fold, number in ((0, 0), (0, 1), (1, 0)):
        _, learnt, inner = learns(method, fold, number)
        held = method.table["id"][method.fold == fold].tolist()
        drivers = [{driver[name] for name in part} for part in (learnt, inner, held)]
        assert [len(some) for some in drivers] == [3, 1, 2], "whole drivers"
        assert len(set.union(*drivers)) == 6, "in one part each"
        assert sorted([*learnt, *inner, *held]) == sorted(driver), "and every image"
        chose.append(drivers[1])
    assert chose[0] != chose[1], "the other model of a fold is judged on other drivers"


def test_a_mirrored_driver_has_the_other_hand_s_class(tiny: str, tmp_path: Path) -> None:
    job = finetuned.prepared(drawing.drivers(tmp_path, each=1), tiny, "state-farm", mirror_share=1.0, augment="none")
    method = finetuned.method(job)
    trainer = method.trainer(method.fold_models[0], np.arange(60), np.arange(0), tmp_path)
    (images, labels), *_ = trainer._batches(range(1), 0, augmented=True)
    (plain, truth), *_ = trainer._batches(range(1), 0, augmented=False)
    mirror = job.competition.mirror_classes
    assert mirror == (0, 3, 4, 1, 2, 5, 6, 7, 8, 9)
    assert labels.tolist() == [mirror[label] for label in truth.tolist()]
    assert (images == plain.flip(2)).all()


@pytest.mark.parametrize("on_features", [0, 1])
def test_a_model_knows_nothing_of_the_labels_that_it_is_scored_on(
    tiny: str, tmp_path: Path, home: Path, on_features: int
) -> None:
    archive = drawing.dogs(tmp_path, train=40)
    changes = f"features epochs={on_features},all epochs=2 schedule=flat"
    job = finetuned.prepared(archive, tiny, phases=changes, validation_share=0.2)
    found: dict[str, list[bytes]] = {}
    for case in ("as it is", "held out", "trained on"):
        (tmp_path / case).mkdir()
        method = finetuned.method(dataclasses.replace(job, run=dataclasses.replace(job.run, folder=tmp_path / case)))
        other = {"as it is": [False] * 40, "held out": method.fold == 0, "trained on": method.fold == 1}[case]
        method.truth = np.where(other, 1 - method.truth, method.truth)
        learns(method, 0)
        folder = tmp_path / case / "models" / "fold0-0"
        found[case] = [(folder / name).read_bytes() for name in ("all.safetensors", "oof.parquet", "test.parquet")]
    assert found["held out"] == found["as it is"]
    assert found["trained on"] != found["as it is"], "what it learns from matters"


def test_regularisation_reaches_the_model(tiny: str, tmp_path: Path) -> None:
    archive = drawing.dogs(tmp_path)
    regularised: dict[str, Any] = {"dropout": 0.3, "drop_path": 0.2}
    for more, drop, paths in (({}, 0.0, 0), (regularised, 0.3, 1)):
        method = finetuned.method(finetuned.prepared(archive, tiny, **more))
        trainer = method.trainer(method.fold_models[0], np.arange(12), np.arange(0), tmp_path)
        model = trainer.learner.model
        assert model.drop_rate == drop
        assert (sum(type(part).__name__ == "DropPath" for part in model.modules()) > 0) == bool(paths)


# Views


def test_a_mirrored_view_s_classes_are_mapped_back(tiny: str, tmp_path: Path) -> None:
    method = finetuned.method(finetuned.prepared(drawing.drivers(tmp_path, each=1), tiny, "state-farm", folds=3))
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    seen: list[Any] = []

    def predict(contents: list[bytes], view: Any = None) -> tuple[Any, Any]:
        if view is not None:
            seen.append(view(image, contents[0]))
        return np.eye(10)[[1]] * 0.9 + 0.01, None  # the mirrored image shows c1: texting with the right hand

    data = SimpleNamespace(augmenter=SimpleNamespace(mirror=method.job.competition.mirror_classes))
    trained = cast("TrainedModel", SimpleNamespace(predict=predict, trainer=SimpleNamespace(data=data)))
    rows = tta.predict([PLAIN, MIRROR], [b"a"], trained, FinishSettings())[MIRROR]
    assert rows.argmax() == 3, "the image itself shows c3: the left hand"
    assert (seen[0] == image[:, ::-1]).all()


def test_with_one_model_views_stay_off_and_with_two_they_are_judged(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    archive = drawing.drivers(tmp_path, each=1)
    words = (*ONE_MODEL, "--set", "phases=all epochs=1", "--set", "tta_views=2", "--set", "class_shares=false")
    one = succeeded(cli(*command(archive, tiny, *words, "--set", "models=1", "--set", "scenes=0", name="state-farm")))
    assert "test-time augmentation stays off: it is judged on the mean of several models" in one.out
    assert [gate["step"] for gate in steps(finetuned.newest(home, "state-farm"))] == ["temperature", "clip"]
    more = ("--set", "models=2", "--set", "neighbours=8", "--set", "scenes=2")
    succeeded(cli(*command(archive, tiny, *words, *more, name="state-farm")))
    run = finetuned.newest(home, "state-farm")
    gates = steps(run)
    by_scene = ["statistics of scenes", *(f"mean of {count} neighbours in scenes" for count in (2, 4, 8))]
    alike = [f"mean of {count} neighbours" for count in (2, 4, 8)]
    candidates = ["mirrored view", "2 augmented views", *alike, *by_scene]
    assert [gate["step"] for gate in gates] == [*candidates, "temperature", "clip"]
    assert all({"before", "after", "gain", "low", "kept"} <= gate.keys() for gate in gates)
    of = [[f"2 {view}", f"4 {view}", view] for view in (tta.NEIGHBOURS, tta.SCENE_NEIGHBOURS)]
    views = [PLAIN, MIRROR, "augmented0", "augmented1", *of[0], tta.SCENES, *of[1]]
    rows = [pd.read_parquet(run / "models" / f"fold0-{number}" / "oof.parquet") for number in range(2)]
    assert [list(dict.fromkeys(frame["view"])) for frame in rows] == [views, views]
    labels = [f"c{n}" for n in range(10)]
    by_view = [frame.set_index(["view", "id"])[labels] for frame in rows]
    assert not np.allclose(by_view[0].loc["plain"], by_view[0].loc["augmented0"])
    assert not np.allclose(by_view[0].loc["plain"], by_view[1].loc["plain"]), "the models differ"
    joined = (by_view[0].loc["plain"] + by_view[1].loc["plain"]) / 2
    truth = np.array([labels.index(name) for name in pd.read_parquet(run / "oof.parquet")["label"]])
    loss = -np.log(joined.to_numpy()[np.arange(len(truth)), truth]).mean()
    assert gates[0]["before"] == pytest.approx(loss)


def steps(run: Path) -> list[dict[str, Any]]:
    gates: list[dict[str, Any]] = json.loads((run / "finish.json").read_text())
    return gates


# The finder's command


def suggested(out: str) -> list[str]:
    return re.findall(r"^.*(?:valley|steepest|minimum/10|no suggestion|steps from).*$", out, re.MULTILINE)


def test_the_finder_says_the_same_twice_and_trains_nothing(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # pictures are looked at here
    monkeypatch.setenv("KAGGLEKIT_HOME", str(home))
    trainers.spare(monkeypatch, pictures=True)
    archive = drawing.dogs(tmp_path, train=40)
    words = ("--data", str(archive), "--backbone", tiny, "--set", "image_size=32", "--set", "train_batch=6")
    said = []
    for part in ("head", "all", "all"):
        done = succeeded(cli("lr-find", "dogs-vs-cats", *words, "--train", part))
        plot = home / "dogs-vs-cats" / f"lr-find-{part}.png"
        assert plot.read_bytes().startswith(PNG)
        assert f"written: {plot}" in done.out
        said.append(suggested(done.out))
    assert said[1] == said[2]
    assert said[0] != said[1], "the head alone and all layers are swept differently"
    assert all(said)
    assert not list(home.rglob("*.safetensors"))
    assert "no runs" in succeeded(cli("runs", "dogs-vs-cats")).out
    assert "must be one of head, late, later, all" in failed(cli("lr-find", "dogs-vs-cats", *words, "--train", "body"))


def test_the_finder_s_command_starts_from_a_run_s_weights_too(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    archive = drawing.dogs(tmp_path, train=40)
    succeeded(cli(*command(archive, tiny, *TWO_FOLDS, "--set", "phases=all epochs=1")))
    run = finetuned.only_run(home)
    small = ("--backbone", tiny, "--set", "image_size=32", "--set", "train_batch=6", "--set", "folds=2")
    done = succeeded(cli("lr-find", "dogs-vs-cats", *small, "--set", f"start={run.name}:all"))
    assert "steps from" in done.out
