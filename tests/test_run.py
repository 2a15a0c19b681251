"""The main job through the command line, on drawn competitions in the real ones' archives."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from kagglekit.base.console import Console
from kagglekit.pipeline import command as pipeline
from kagglekit.pipeline.methods.features import FeaturesRun
from kagglekit.pipeline.predictions import Predictions
from tests import damage, drawing
from tests.conftest import Cli, failed, succeeded

LEAF = """
from kagglekit import ClassLabel, Competition, CsvLabels, hookimpl


def mistakes(truth, probabilities):
    return float((probabilities.argmax(axis=1) != truth).mean())


@hookimpl
def competition():
    return Competition(
        name="leaf",
        kaggle="leaf-classification",
        classes={"oak": "Oak", "elm": "Elm", "ash": "Ash"},
        train=CsvLabels("labels.csv", images="train/{id}.png", id="leaf", label="kind"),
        test="test/{id}.png",
        submission=ClassLabel(id="leaf", label="kind", id_format="{id}.png"),
        metric=mistakes,
    )
"""


def only_run(home: Path, name: str) -> Path:
    (folder,) = (home / name / "runs").iterdir()
    return folder


@pytest.fixture
def leaf(tmp_path: Path) -> Path:
    """A competition of somebody else's, in a single file, with its data in a folder."""
    return write_leaf(tmp_path)


def write_leaf(folder: Path) -> Path:
    (folder / "leaf.py").write_text(LEAF)
    data = folder / "leaf-data"
    (data / "train").mkdir(parents=True)
    (data / "test").mkdir()
    rows = ["leaf,kind"]
    for number in range(30):
        rows.append(f"L{number},{('oak', 'elm', 'ash')[number % 3]}")
        (data / "train" / f"L{number}.png").write_bytes(drawing.image(number % 3, number, ".png"))
    for number in range(6):
        (data / "test" / f"T{number}.png").write_bytes(drawing.image(number % 3, 500 + number, ".png"))
    (data / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished run of the leaves, and one of the dogs and cats."""
    spec, cache = tiny_export
    home, given = tmp_path_factory.mktemp("finished"), tmp_path_factory.mktemp("given")
    shutil.copytree(cache, home / ".cache")
    write_leaf(given)
    for words in ((given / "leaf.py", "--data", given / "leaf-data"), ("dogs-vs-cats", "--data", drawing.dogs(given))):
        damage.make(home, "run", *words, "--backbone", spec, "--no-report")
    return home


@pytest.fixture
def begun(finished: Path, home: Path) -> None:
    """What the first command of a test would make, of images drawn alike, is there already."""
    for name in ("leaf", "dogs-vs-cats"):
        shutil.copytree(finished / name, home / name)


def test_an_archive_becomes_a_submission_that_tells_the_classes_apart(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    done = succeeded(cli("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny))
    run = only_run(home, "dogs-vs-cats")
    submission = pd.read_csv(run / "submission.csv")
    assert list(submission.columns) == ["id", "label"]
    assert submission["id"].tolist() == list(range(1, 13))
    assert ((submission["label"] > 0.5) == (submission["id"] % 2 == 0)).all()
    result = json.loads((run / "result.json").read_text())
    assert result["out_of_fold"] < 0.5
    assert result["accuracy"] > 0.9
    for text in ("out-of-fold log loss", f"{result['out_of_fold']:.5f} ±", "leaderboard", str(run / "submission.csv")):
        assert text in done.out
    assert f"next: kagglekit submit dogs-vs-cats --run {run.name} --wait" in done.out


@pytest.mark.usefixtures("begun")
def test_a_run_folder_holds_all_that_is_needed_to_understand_it(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    succeeded(cli("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny))
    run = only_run(home, "dogs-vs-cats")
    record = json.loads((run / "run.json").read_text())
    (backbone,) = record["backbones"]
    assert len(backbone["sha256"]) == 64
    assert backbone["source"] == "file"
    assert record["versions"]["timm"]
    assert record["machine"]["cores"] >= 1
    assert json.loads((run / "provider.json").read_text())["used"] == "cpu"
    folds, oof = pd.read_parquet(run / "folds.parquet"), pd.read_parquet(run / "oof.parquet")
    assert folds["id"].tolist() == oof["id"].tolist() == [f"{c}.{n}" for c in ("cat", "dog") for n in range(12)]
    assert sorted(folds["fold"].unique()) == [0, 1, 2, 3, 4]
    assert np.allclose(oof[["cat", "dog"]].sum(axis=1), 1)
    truth = oof["label"].map({"cat": 0, "dog": 1}).to_numpy()
    loss = -np.log(oof[["cat", "dog"]].to_numpy()[np.arange(len(truth)), truth]).mean()
    assert loss == pytest.approx(json.loads((run / "result.json").read_text())["out_of_fold"])
    assert pd.read_parquet(run / "test.parquet")["id"].tolist() == [str(n) for n in range(1, 13)]
    assert {name.split(".")[0] for name in load_file(run / "heads.safetensors")} == {
        *(f"fold{n}" for n in range(5)), "all",
    }  # fmt: skip
    assert "out-of-fold" in (run / "log.txt").read_text()


@pytest.mark.usefixtures("begun")
def test_the_same_command_again_changes_nothing_and_says_so(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    archive = drawing.dogs(tmp_path)
    succeeded(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny))
    run = only_run(home, "dogs-vs-cats")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = succeeded(cli("run", "dogs-vs-cats", "--backbone", tiny))
    assert "already finished" in done.out
    assert only_run(home, "dogs-vs-cats") == run
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("begun")
def test_a_submission_that_was_changed_by_hand_is_made_again(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    command = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny)
    succeeded(cli(*command))
    submission = only_run(home, "dogs-vs-cats") / "submission.csv"
    good = submission.read_bytes()
    submission.write_bytes(good[:-20])
    done = succeeded(cli(*command))
    assert submission.read_bytes() == good
    (kept,) = submission.parent.glob("submission.changed-*.csv")
    assert kept.read_bytes() == good[:-20]
    assert kept.name in done.out


@pytest.mark.usefixtures("begun")
def test_every_file_of_a_run_that_is_lost_is_made_again_with_the_same_bytes(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    command = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny)
    succeeded(cli(*command))
    run = only_run(home, "dogs-vs-cats")
    results = ("folds.parquet", "heads.safetensors", "heads.parquet", "predict.parquet", "oof.parquet", "test.parquet")
    expected = {name: (run / name).read_bytes() for name in (*results, "submission.csv")}
    for lost in (*expected, "result.json", "provider.json", "stages/heads.json"):
        (run / lost).unlink()
        done = succeeded(cli(*command))
        assert "already finished" not in done.out, lost
        assert {name: (run / name).read_bytes() for name in expected} == expected, lost


@pytest.mark.parametrize("head", [("logistic",), ("mlp", "--set", "mlp_epochs=5")], ids=["logistic", "mlp"])
def test_submission_bytes_do_not_depend_on_threads_or_place(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, head: tuple[str, ...]
) -> None:
    archive = drawing.dogs(tmp_path, train=60)
    words = ("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--head", *head)
    succeeded(cli(*words))
    expected = (only_run(home, "dogs-vs-cats") / "submission.csv").read_bytes()
    for threads in (1, 3):
        elsewhere = tmp_path / str(threads)
        monkeypatch.setenv("KAGGLEKIT_HOME", str(elsewhere))
        elsewhere.mkdir()
        (elsewhere / ".cache").symlink_to(home / ".cache")
        succeeded(cli(*words, "--set", f"threads={threads}"))
        assert (only_run(elsewhere, "dogs-vs-cats") / "submission.csv").read_bytes() == expected, threads


@pytest.mark.parametrize("older", [False, True], ids=["today", "older"])
def test_drivers_are_never_split_and_every_class_has_its_column(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, older: bool
) -> None:
    archive = drawing.drivers(tmp_path, older=older)
    done = succeeded(
        cli("run", "state-farm", "--data", archive, "--backbone", tiny, "--folds", "3", "--method", "features")
    )
    assert "6 groups" in done.out
    run = only_run(home, "state-farm")
    folds = pd.read_parquet(run / "folds.parquet")
    assert folds["id"].str.match(r"c\d/img_\d+$").all()
    driver = folds["id"].str.extract(r"img_(\d)")[0]
    assert (folds.groupby(driver)["fold"].nunique() == 1).all()
    submission = pd.read_csv(run / "submission.csv")
    assert list(submission.columns) == ["img", *(f"c{n}" for n in range(10))]
    assert submission["img"].tolist() == [f"img_{900 + n}.jpg" for n in range(8)]
    assert np.allclose(submission.drop(columns="img").sum(axis=1), 1)
    result = json.loads((run / "result.json").read_text())
    assert result["clusters"] == 6
    assert result["standard_error"] > 0


def test_a_plugin_in_one_file_runs_on_labels_from_a_csv(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    done = succeeded(cli("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny, "--holdout", "9"))
    assert "view mirror is left out" in done.out
    assert "hold-out mistakes" in done.out
    submission = pd.read_csv(only_run(home, "leaf") / "submission.csv")
    assert submission["leaf"].tolist() == [f"T{n}.png" for n in range(6)]
    assert submission["kind"].tolist() == ["oak", "elm", "ash"] * 2
    folds = pd.read_parquet(only_run(home, "leaf") / "folds.parquet")
    assert set(folds["fold"]) == {-1, 0}
    assert len(pd.read_parquet(only_run(home, "leaf") / "oof.parquet")) == (folds["fold"] == 0).sum() == 9


@pytest.mark.parametrize(
    "settings", [("head=mlp",), ("output=logits",), ("feature_views=mirror",), ("finish=",)], ids=str
)
def test_each_choice_of_features_and_head_gives_a_good_submission(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, settings: tuple[str, ...]
) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    archive = drawing.dogs(tmp_path, train=60)
    succeeded(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, *words))
    run = only_run(home, "dogs-vs-cats")
    assert json.loads((run / "result.json").read_text())["accuracy"] > 0.9
    submission = pd.read_csv(run / "submission.csv")
    assert ((submission["label"] > 0.5) == (submission["id"] % 2 == 0)).mean() > 0.9


def test_a_sample_trains_on_few_images_and_still_gives_every_id_a_row(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    archive = drawing.dogs(tmp_path, train=40, test=30)
    done = succeeded(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--sample", "20"))
    run = only_run(home, "dogs-vs-cats")
    assert len(pd.read_parquet(run / "folds.parquet")) == 20
    submission = pd.read_csv(run / "submission.csv")
    assert submission["id"].tolist() == list(range(1, 31))
    assert (submission["label"] == 0.5).sum() == 10
    assert "10 of 30 rows were not predicted and get the class prior" in done.out
    assert "do not submit it" in done.out


def test_unreadable_images_are_listed_left_out_and_get_the_prior(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    (data / "test").mkdir()
    for n in range(30):
        (data / "train" / f"{('cat', 'dog')[n % 2]}.{n}.jpg").write_bytes(drawing.image(n % 2, n))
    for n in range(4):
        (data / "test" / f"{n}.jpg").write_bytes(drawing.image(n % 2, 90 + n))
    (data / "train" / "cat.0.jpg").write_bytes(b"")
    (data / "test" / "2.jpg").write_bytes(b"<!DOCTYPE html><html>Please log in</html>")
    done = succeeded(cli("run", "dogs-vs-cats", "--data", data, "--backbone", tiny))
    run = only_run(home, "dogs-vs-cats")
    listed = pd.read_csv(run / "quarantine.csv", dtype="str")
    assert listed[["part", "id", "reason"]].to_numpy().tolist() == [
        ["train", "cat.0", "is empty"],
        ["test", "2", "is a web page, not an image"],
    ]
    assert "WARNING: 1 train images can't be read" in done.out
    assert "WARNING: 1 test images can't be read" in done.out
    assert "cat.0" not in set(pd.read_parquet(run / "folds.parquet")["id"])
    submission = pd.read_csv(run / "submission.csv").set_index("id")["label"]
    assert submission[2] == pytest.approx(15 / 29)
    assert (data / "train" / "cat.0.jpg").exists()


def test_a_readable_image_without_numbers_is_no_unreadable_one(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FeaturesRun.read_predictions

    def overflowing(run: FeaturesRun) -> Predictions:
        found = read(run)
        found.test[1] = np.nan
        return found

    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny)
    with monkeypatch.context() as patch:
        patch.setattr(FeaturesRun, "read_predictions", overflowing)
        assert "1 readable test images have no prediction, for example 2" in failed(cli(*words))
    assert not list(home.rglob("submission.csv"))
    succeeded(cli(*words))


def test_of_several_processes_the_others_see_the_data_that_the_first_has_brought(
    tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def downloading() -> Iterator[None]:
        folder = home / "dogs-vs-cats" / "data"
        if not folder.exists():
            folder.mkdir(parents=True)
            drawing.dogs(tmp_path).rename(folder / "dogs.zip")
        yield

    monkeypatch.setattr(pipeline.distributed, "first_goes_first", downloading)
    made = pipeline.run("dogs-vs-cats", None, {"backbone": tiny, "regularisation_grid": "1"}, Console(io.StringIO()))
    assert not made.synthetic


def test_an_image_that_is_mended_is_used(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    image = leaf / "leaf-data" / "train" / "L3.png"
    good = image.read_bytes()
    image.write_bytes(good[:40])
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    assert "can't be read" in succeeded(cli(*command)).out
    image.write_bytes(good)
    assert "can't be read" not in succeeded(cli(*command)).out


def test_only_new_images_are_computed(cli: Cli, tiny: str, leaf: Path) -> None:
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    assert "features: 36 images" in succeeded(cli(*command)).out
    (leaf / "leaf-data" / "test" / "T9.png").write_bytes(drawing.image(1, 999, ".png"))
    assert "features: 1 images" in succeeded(cli(*command)).out
    assert "all 37 images are in the cache" in succeeded(cli(*command, "--seed", "5")).out


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(
    ("setting", "computed"),
    [("crop=squash", 36), ("output=logits", 36), ("image_size=96", 36), ("head=mlp", 0), ("folds=3", 0)],
)
def test_features_are_computed_again_exactly_when_their_numbers_would_change(
    cli: Cli, tiny: str, leaf: Path, setting: str, computed: int
) -> None:
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    succeeded(cli(*command))
    done = succeeded(cli(*command, "--set", setting))
    assert (f"features: {computed} images" if computed else "all 36 images are in the cache") in done.out


@pytest.mark.usefixtures("begun")
def test_the_same_images_elsewhere_and_with_other_times_are_the_same_run(
    cli: Cli, tiny: str, leaf: Path, home: Path
) -> None:
    command = ("run", leaf / "leaf.py", "--backbone", tiny, "--data")
    succeeded(cli(*command, leaf / "leaf-data"))
    shutil.copytree(leaf / "leaf-data", leaf / "copy", copy_function=shutil.copyfile)
    done = succeeded(cli(*command, leaf / "copy"))
    assert "scan: 36 images" in done.out
    assert "already finished" in done.out
    assert only_run(home, "leaf")


def test_other_weights_of_the_same_model_have_features_of_their_own(
    cli: Cli, tiny: str, leaf: Path, tmp_path: Path, home: Path
) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--head", "logistic", "--backbone")
    succeeded(cli(*command, tiny))
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    assert "features: 36 images" in succeeded(cli(*command, f"test_resnet={tmp_path / 'other.safetensors'}")).out
    first, second = (load_file(run / "heads.safetensors")["all.mean"] for run in (home / "leaf" / "runs").iterdir())
    assert not np.allclose(first, second)


@pytest.mark.usefixtures("begun")
def test_a_changed_plugin_is_a_new_run(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    succeeded(cli(*command))
    plugin = leaf / "leaf.py"
    plugin.write_text(plugin.read_text().replace("!= truth).mean()", "!= truth).mean() * 100"))
    assert "already finished" not in succeeded(cli(*command)).out
    assert len(list((home / "leaf" / "runs").iterdir())) == 2


@pytest.mark.usefixtures("begun")
def test_a_changed_submission_hook_trains_nothing_again(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    succeeded(cli(*command))
    (run,) = (home / "leaf" / "runs").iterdir()
    before, trained = pd.read_csv(run / "submission.csv"), (run / "heads.safetensors").stat().st_mtime_ns
    sent = json.loads((run / "result.json").read_text())["submission_sha256"]
    (leaf / "leaf.py").write_text((leaf / "leaf.py").read_text() + HOOK)
    assert "heads: " not in succeeded(cli(*command)).out
    assert [run] == list((home / "leaf" / "runs").iterdir())
    assert (run / "heads.safetensors").stat().st_mtime_ns == trained
    after = pd.read_csv(run / "submission.csv")
    assert list(after.columns) == list(before.columns)
    assert not after.equals(before)
    assert json.loads((run / "result.json").read_text())["submission_sha256"] != sent
    assert "already finished" in succeeded(cli(*command)).out


HOOK = """

@hookimpl
def submission(competition, ids, probabilities, sample):
    from kagglekit.competitions import submissions

    return submissions.lay_out(competition, ids, 1 - probabilities, sample)
"""


def test_a_misspelt_field_of_the_description_names_plugin_and_hook(cli: Cli, leaf: Path) -> None:
    plugin = leaf / "leaf.py"
    plugin.write_text(plugin.read_text().replace("kaggle=", "kagle="))
    done = cli("run", plugin)
    assert done.code == 1
    assert "leaf.py', hook 'competition'" in done.err
    assert "kagle" in done.err


def test_mirrored_hands_are_told_apart_and_swapped_back(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    archive = drawing.hands(tmp_path)
    succeeded(cli("run", "state-farm", "--data", archive, "--backbone", tiny, "--folds", "3", "--method", "features"))
    run = only_run(home, "state-farm")
    assert json.loads((run / "result.json").read_text())["accuracy"] > 0.9
    submission = pd.read_csv(run / "submission.csv").set_index("img")
    expected = [f"c{n % 10}" for n in range(20)]
    assert (submission.idxmax(axis=1) == expected).mean() > 0.9


def test_only_the_new_one_of_two_backbones_is_computed(cli: Cli, tiny: str, leaf: Path, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    other = f"test_vit={tmp_path / 'vit.safetensors'}"
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone")
    for spec in (tiny, other):
        succeeded(cli(*command, spec))
    assert "all 36 images are in the cache" in succeeded(cli(*command, f"{tiny},{other}")).out


def test_two_backbones_side_by_side(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "vit.safetensors")
    both = f"{tiny},test_vit={tmp_path / 'vit.safetensors'}"
    succeeded(cli("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", both))
    run = only_run(home, "dogs-vs-cats")
    widths = [b["outputs"]["pooled"] for b in json.loads((run / "run.json").read_text())["backbones"]]
    assert load_file(run / "heads.safetensors")["all.weights"].shape == (sum(widths), 2)


def test_the_valid_folder_of_the_data_can_be_the_judge(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "course.py").write_text(
        "from kagglekit import *\n\n@hookimpl\ndef competition():\n"
        "    return Competition(name='course', kaggle='course', classes={'cat': 'cat', 'dog': 'dog'},\n"
        "        train=FolderLabels('train/{label}'), valid=FolderLabels('valid/{label}'), test='test/{id}.jpg',\n"
        "        submission=Probability(of='dog'), flip='allowed')\n"
    )
    for part, count in (("train", 20), ("valid", 8)):
        for n in range(count):
            folder = tmp_path / "data" / part / ("cat", "dog")[n % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n}.jpg").write_bytes(drawing.image(n % 2, n + 100 * len(part)))
    (tmp_path / "data" / "test").mkdir()
    (tmp_path / "data" / "test" / "a.jpg").write_bytes(drawing.image(1, 77))
    command = ("run", tmp_path / "course.py", "--data", tmp_path / "data", "--backbone", tiny)
    succeeded(cli(*command, "--set", "validation=valid"))
    oof = pd.read_parquet(only_run(home, "course") / "oof.parquet")
    assert len(oof) == 8
    assert oof["id"].str.startswith("valid/").all()


def test_what_the_user_can_fix_is_one_line_on_standard_error(cli: Cli, tmp_path: Path) -> None:
    for words, message in (
        (("run", "dogs-vs-cat"), "did you mean 'dogs-vs-cats'?"),
        (("run", "dogs-vs-cats", "--data", tmp_path / "none.zip"), "no such file or folder"),
        (("run", "dogs-vs-cats", "--data", ""), "--data is empty"),
        (("audit", "dogs-vs-cats", "--data="), "--data is empty"),
        (("run", ""), "name is empty"),
        (("run", "dogs-vs-cats", "--data", tmp_path), "no training image"),
        (("run", "dogs-vs-cats", "--set", "fold=3"), "did you mean 'folds'?"),
        (("run", "dogs-vs-cats", "--set", "folds=many"), "must be an integer"),
        (("info", "20200101-0000-abcdef"), "kagglekit runs"),
    ):
        done = cli(*words)
        assert done.code == 1
        assert done.err.startswith("kagglekit: ")
        assert done.err.count("\n") == 1, done.err
        assert message in done.err


def test_a_submission_that_kaggle_would_refuse_is_never_written(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    with (leaf / "leaf.py").open("a") as file:
        file.write(
            "\n@hookimpl\ndef submission(ids, probabilities):\n    import pandas as pd\n"
            "    last = 'palm' if probabilities.std(axis=0).max() > 0 else 'oak'\n"  # not so for class priors
            "    return pd.DataFrame({'leaf': ids, 'kind': ['oak'] * (len(ids) - 1) + [last]})\n"
        )
    done = cli("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    assert done.code == 1
    assert "'T5.png'" in done.err
    assert "no class of the competition" in done.err
    assert not (only_run(home, "leaf") / "submission.csv").exists()
    assert "Kaggle would refuse it" in (only_run(home, "leaf") / "log.txt").read_text()


def test_two_files_that_swap_their_names_are_other_images(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    first, second = (leaf / "leaf-data" / "test" / f"T{n}.png" for n in (0, 1))
    for file, colour in ((first, 0), (second, 1)):
        pixels = np.full((32, 32, 3), (10, 200 * colour, 90), np.uint8)
        Image.fromarray(pixels).save(file, "BMP")  # of one size, whatever is on it
        os.utime(file, ns=(10**18, 10**18))
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    succeeded(cli(*command))
    first.rename(leaf / "aside")
    second.rename(first)
    (leaf / "aside").rename(second)
    assert "already finished" not in succeeded(cli(*command)).out


@pytest.mark.usefixtures("begun")
def test_an_unreadable_image_that_is_added_is_not_overlooked(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    data = leaf / "leaf-data"
    command = ("run", leaf / "leaf.py", "--data", data, "--backbone", tiny)
    succeeded(cli(*command))
    (data / "train" / "L99.png").write_bytes(b"")
    with (data / "labels.csv").open("a") as table:
        table.write("L99,oak\n")
    for _ in range(2):  # nor when the run is finished
        assert "WARNING: 1 train images can't be read, for example L99" in succeeded(cli(*command)).out


@pytest.mark.usefixtures("begun")
def test_a_run_survives_the_loss_of_everything_but_its_data(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    command = ("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny)
    succeeded(cli(*command))
    run = only_run(home, "leaf")
    expected = (run / "submission.csv").read_bytes()
    for lost in (run.rglob("*.json"), (home / "leaf" / "cache").rglob("*.rows.npy"), run.rglob("*.*")):
        for path in list(lost):
            path.unlink()
        succeeded(cli(*command))
        assert (only_run(home, "leaf") / "submission.csv").read_bytes() == expected
        assert "already finished" in succeeded(cli(*command)).out


def test_classes_may_have_the_names_of_columns(cli: Cli, tiny: str, leaf: Path, home: Path) -> None:
    for name in ("leaf.py", "leaf-data/labels.csv"):
        text = (leaf / name).read_text().replace("oak", "id").replace("elm", "label").replace("ash", "fold")
        (leaf / name).write_text(text)
    succeeded(cli("run", leaf / "leaf.py", "--data", leaf / "leaf-data", "--backbone", tiny))
    submission = pd.read_csv(only_run(home, "leaf") / "submission.csv")
    assert submission["kind"].tolist() == ["id", "label", "fold"] * 2
