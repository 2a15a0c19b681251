"""The synthetic run where there is no data, and that what is drawn is what the description says."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kagglekit.authoring import testing
from kagglekit.base import storage
from kagglekit.base.workspace import Workspace
from kagglekit.cli import main
from kagglekit.competitions import plugins, samples, submissions, synthetic
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.hookspecs import hookimpl
from kagglekit.competitions.locations import CsvGroups, CsvLabels, FilenameLabels, FolderLabels
from kagglekit.competitions.plugins import Plugin
from kagglekit.competitions.synthetic import pictures, plan, scenes, subjects
from kagglekit.competitions.synthetic.subjects import Subject
from kagglekit.data import archives, folds, sources
from kagglekit.data.project import Project
from kagglekit.formats import ClassLabel, Probability, ProbabilityPerClass
from kagglekit.pipeline import synthetic_run
from kagglekit.recipe import DEFAULT_FOLDS, DataSettings
from kagglekit.tasks.targets import Classes
from tests import drawing
from tests.conftest import Cli, failed, succeeded

DOGS = "dogs-vs-cats"
DOGS_AT_KAGGLE = "dogs-vs-cats-redux-kernels-edition"
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Described:
    """A plugin that is nothing but a description."""

    def __init__(self, described: Competition) -> None:
        self.described = described

    @hookimpl
    def competition(self) -> Competition:
        return self.described


def plugin_of(competition: Competition) -> Plugin:
    return Plugin(competition.name, Described(competition))


def described(**changes: Any) -> Competition:
    fields: dict[str, Any] = {
        "name": "leaf",
        "kaggle": "leaf-classification",
        "classes": {"oak": "Oak", "elm": "Elm", "ash": "Ash"},
        "train": FolderLabels("train/{label}"),
        "test": "test/{id}.jpg",
        "submission": ProbabilityPerClass(),
    }
    return Competition(**fields | changes)


def only_run(workspace: Path) -> Path:
    (folder,) = (workspace / "runs").iterdir()
    return folder


# the synthetic run


@dataclass(frozen=True)
class Synthetic:
    """A synthetic run that has ended."""

    home: Path
    run: Path
    out: str


@pytest.fixture(scope="module")
def made(tiny_export: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """Type `kagglekit run dogs-vs-cats` with no data, once for the tests that only look at what it leaves."""
    spec, cache = tiny_export
    home = tmp_path_factory.mktemp("synthetic")
    shutil.copytree(cache, home / ".cache")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setenv("KAGGLEKIT_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(sys, "argv", ["kagglekit", "run", DOGS, "--backbone", spec])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return Synthetic(home, only_run(home / DOGS / "synthetic"), out.getvalue())


@pytest.fixture
def after(made: Synthetic, monkeypatch: pytest.MonkeyPatch) -> Synthetic:
    """Type further commands in the synthetic run's home."""
    monkeypatch.setenv("KAGGLEKIT_HOME", str(made.home))
    return made


def test_without_data_a_run_says_how_to_get_it_and_that_this_run_is_synthetic(made: Synthetic) -> None:
    paragraph = made.out.splitlines()[0]
    assert paragraph.startswith("WARNING: there is no data for dogs-vs-cats yet")
    for way in (
        f"https://www.kaggle.com/competitions/{DOGS_AT_KAGGLE}/rules",
        f"https://www.kaggle.com/competitions/{DOGS_AT_KAGGLE}/data",
        "kagglekit download dogs-vs-cats",
        "kagglekit run dogs-vs-cats --data PATH",
        f"put it in {made.home / DOGS / 'data'}",
    ):
        assert way in paragraph
    assert "SYNTHETIC" in paragraph
    assert "the score means nothing" in paragraph
    assert made.out.count("there is no data") == 1


def test_the_closing_lines_of_a_synthetic_run_lead_to_real_data_and_not_to_a_submission(made: Synthetic) -> None:
    *_, file, following, warning, report = made.out.splitlines()
    assert report.startswith("SYNTHETIC report, ")
    assert file == f"submission, synthetic: {made.run / 'submission.synthetic.csv'}"
    assert warning.startswith("WARNING: the images are synthetic")
    assert "can't be submitted" in warning
    assert following == "next: kagglekit run dogs-vs-cats --data ARCHIVE"
    assert f"SYNTHETIC run {made.run.name}" in made.out
    assert "kagglekit submit" not in made.out
    assert "leaderboard" not in made.out


def test_everything_that_a_run_on_drawn_images_leaves_is_called_synthetic(made: Synthetic) -> None:
    run = made.run
    assert "-synthetic-" in run.name
    assert [path.name for path in run.glob("submission*")] == ["submission.synthetic.csv"]
    for record in ("result.json", "run.json"):
        assert json.loads((run / record).read_text())["synthetic"] is True
    log = (run / "log.txt").read_text()
    assert "there is no data for dogs-vs-cats yet" in log
    assert f"SYNTHETIC run {run.name}" in log
    (archive,) = (made.home / DOGS / "synthetic" / "data").glob("*.zip")
    assert "-synthetic-" in archive.name
    assert [path.name for path in (made.home / DOGS).iterdir()] == ["synthetic"]


def test_commands_that_look_at_runs_show_that_a_synthetic_run_is_one(after: Synthetic, cli: Cli) -> None:
    run = after.run
    for words in (("runs",), ("runs", DOGS)):
        assert run.name in succeeded(cli(*words)).out
    shown = succeeded(cli("info", run.name.rpartition("-")[2])).out
    assert run.name in shown
    assert f"submission: {run / 'submission.synthetic.csv'}" in shown
    assert "synthetic" in [line.split()[0] for line in shown.splitlines() if line.split()[1:] == ["True"]]


def test_a_synthetic_run_again_changes_nothing(after: Synthetic, cli: Cli, tiny_export: tuple[str, Path]) -> None:
    run = after.run
    expected = (run / "submission.synthetic.csv").read_bytes()
    done = succeeded(cli("run", DOGS, "--backbone", tiny_export[0]))
    assert f"run {run.name} is already finished" in done.out
    assert "there is no data for dogs-vs-cats yet" in done.out
    assert "next: kagglekit run dogs-vs-cats --data ARCHIVE" in done.out
    assert only_run(after.home / DOGS / "synthetic") == run
    assert (run / "submission.synthetic.csv").read_bytes() == expected


def test_cats_and_dogs_are_predicted_as_they_were_drawn(made: Synthetic, tmp_path: Path) -> None:
    drawn = synthetic.draw(plugins.load(DOGS).competition(), tmp_path)
    assert predictions(made.run).idxmax(axis=1).to_dict() == drawn.test
    written = pd.read_csv(made.run / "submission.synthetic.csv", dtype={"id": "str"}, index_col="id")["label"]
    assert {test_id: "dog" if probability > 0.5 else "cat" for test_id, probability in written.items()} == drawn.test


def test_a_synthetic_run_never_lies_beside_real_runs(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    succeeded(cli("run", DOGS, "--backbone", tiny))
    assert [path.name for path in (home / DOGS).iterdir()] == ["synthetic"]
    made = only_run(home / DOGS / "synthetic")
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}

    real = succeeded(cli("run", DOGS, "--backbone", tiny, "--data", drawing.dogs(tmp_path)))
    assert "SYNTHETIC" not in real.out
    assert "features: 36 images" in real.out
    run = only_run(home / DOGS)
    assert "synthetic" not in run.name
    assert (run / "submission.csv").is_file()
    assert json.loads((run / "result.json").read_text())["synthetic"] is False
    for part in ("runs", "data", "cache"):
        assert not list((home / DOGS / part).rglob("*synthetic*"))
    assert only_run(home / DOGS / "synthetic") == made
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before

    again = succeeded(cli("run", DOGS, "--backbone", tiny))
    assert "there is no data" not in again.out
    assert f"run {run.name} is already finished" in again.out
    for score in ("out_of_fold", "before_finish"):  # however good a synthetic run's score is, real runs come first
        result = json.loads((made / "result.json").read_text())
        (made / "result.json").write_text(json.dumps(result | {score: 0.0}))
    listed = succeeded(cli("runs", DOGS)).out
    assert listed.index(run.name) < listed.index(made.name)


@pytest.mark.parametrize("unpacked", [False, True], ids=["archive", "unpacked"])
def test_with_data_in_the_workspace_nothing_is_drawn(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, unpacked: bool
) -> None:
    archive, place = drawing.dogs(tmp_path), home / DOGS / "data"
    place.mkdir(parents=True)
    if unpacked:
        shutil.copytree(archives.extract(archive, tmp_path / "unpacked").folder / "train", place / "train")
        shutil.copytree(archives.extract(archive, tmp_path / "unpacked").folder / "test", place / "test")
    else:
        shutil.copyfile(archive, place / archive.name)
    done = succeeded(cli("run", DOGS, "--backbone", tiny))
    assert "SYNTHETIC" not in done.out
    assert (only_run(home / DOGS) / "submission.csv").is_file()
    assert not (home / DOGS / "synthetic").exists()


@pytest.mark.parametrize(
    ("names", "absent"),
    [
        ([], True),
        ([".DS_Store"], True),
        ([".dogs.zip.lock", ".DS_Store"], True),
        (["dogs.zip"], False),
        (["notes.txt"], False),
        (["dogs.zip.crdownload"], False),
    ],
)
def test_only_a_workspace_that_never_had_data_is_given_drawn_images(names: list[str], absent: bool, home: Path) -> None:
    workspace = Workspace.of(DOGS)
    assert sources.is_absent(workspace)
    workspace.data.mkdir(parents=True)
    for name in names:
        (workspace.data / name).write_text("")
    assert sources.is_absent(workspace) == absent


@pytest.mark.parametrize("name", ["notes.txt", "train.csv"])
def test_data_of_another_layout_is_an_error_and_nothing_is_drawn(cli: Cli, home: Path, name: str) -> None:
    (home / DOGS / "data").mkdir(parents=True)
    (home / DOGS / "data" / name).write_text("id,label\n")
    message = failed(cli("run", DOGS))
    assert str(home / DOGS / "data") in message
    assert "--data PATH" in message
    assert not (home / DOGS / "synthetic").exists()


def test_a_data_path_that_is_not_there_is_an_error_and_nothing_is_drawn(cli: Cli, tmp_path: Path, home: Path) -> None:
    assert "no such file or folder" in failed(cli("run", DOGS, "--data", tmp_path / "dogs.zip"))
    assert not (home / DOGS / "synthetic").exists()


def test_data_that_was_named_and_has_vanished_is_an_error_and_nothing_is_drawn(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    given_ = archives.extract(drawing.dogs(tmp_path), tmp_path / "given").folder
    succeeded(cli("run", DOGS, "--backbone", tiny, "--data", given_))
    shutil.rmtree(given_)
    done = cli("run", DOGS, "--backbone", tiny)
    assert f"{given_} is gone" in failed(done)
    assert "--data PATH" in done.err
    assert "SYNTHETIC" not in done.out
    assert not (home / DOGS / "synthetic").exists()


def test_an_archive_that_has_vanished_is_still_unpacked_and_nothing_is_drawn(
    cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    archive = drawing.dogs(tmp_path)
    succeeded(cli("run", DOGS, "--backbone", tiny, "--data", archive))
    archive.unlink()
    done = succeeded(cli("run", DOGS, "--backbone", tiny))
    assert f"run {only_run(home / DOGS).name} is already finished" in done.out
    assert not (home / DOGS / "synthetic").exists()


def test_a_hold_out_that_is_too_large_for_a_synthetic_run_is_made_smaller_and_said(
    cli: Cli, tiny: str, home: Path
) -> None:
    done = succeeded(cli("run", DOGS, "--backbone", tiny, "--holdout", "2000"))
    assert "holdout = 40, of 120 synthetic training images" in done.out
    result = json.loads((only_run(home / DOGS / "synthetic") / "result.json").read_text())
    assert (result["validation"], result["scored_images"]) == ("holdout", 40)


@pytest.mark.parametrize(
    ("settings_", "words"),
    [("validation=valid", "the data brings no validation set"), ("fold=3", "did you mean 'folds'?")],
)
def test_a_setting_that_real_data_would_refuse_is_refused_in_a_synthetic_run(
    cli: Cli, tiny: str, settings_: str, words: str
) -> None:
    assert words in failed(cli("run", DOGS, "--backbone", tiny, "--set", settings_))


def test_a_competition_that_is_not_at_kaggle_has_no_rules_to_accept(home: Path) -> None:
    paragraph = synthetic_run.how_to_get_data(Project.of(plugin_of(described(kaggle=""))))
    assert "\n" not in paragraph
    assert "kaggle.com" not in paragraph
    assert "kaggle competitions" not in paragraph
    assert "kagglekit run leaf --data PATH" in paragraph
    assert str(home / "leaf" / "data") in paragraph


def test_drivers_hands_are_predicted_as_they_were_drawn_on_either_side(
    cli: Cli, tiny: str, home: Path, tmp_path: Path
) -> None:
    # more folds mean more drivers, which the small backbone needs; the hold-out spares it their heads
    done = succeeded(
        cli("run", "state-farm", "--method", "features", "--backbone", tiny, "--folds", "30", "--holdout", "60")
    )
    assert "310 training images of 10 classes, 30 groups" in done.out
    predicted = predictions(only_run(home / "state-farm" / "synthetic"))
    drawn = synthetic.draw(plugins.load("state-farm").competition(), tmp_path, folds=30)
    assert set(predicted.index) == set(drawn.test)
    right = predicted.idxmax(axis=1) == pd.Series(drawn.test)[predicted.index]
    hands = [drawn.test[test_id] in ("c1", "c2", "c3", "c4") for test_id in predicted.index]
    assert right.mean() > 0.7
    assert right[hands].mean() > 0.7, "a mirrored view that is not swapped back gives the other hand"


def predictions(run: Path) -> pd.DataFrame:
    return pd.read_parquet(run / "test.parquet").set_index("id")


# the archive

BUILT_IN = (DOGS, "state-farm")


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_archive_has_the_same_bytes_each_time_and_in_each_process(name: str, tmp_path: Path) -> None:
    competition = plugins.load(name).competition()
    first = synthetic.draw(competition, tmp_path / "first").archive
    second = synthetic.draw(competition, tmp_path / "second").archive
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    program = (
        "import hashlib, pathlib, sys\nfrom kagglekit.competitions import plugins, synthetic\n"
        f"drawn = synthetic.draw(plugins.load({name!r}).competition(), pathlib.Path(sys.argv[1]))\n"
        "print(hashlib.sha256(drawn.archive.read_bytes()).hexdigest())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "third")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"}, check=True)
    assert done.stdout.strip() == hashlib.sha256(first.read_bytes()).hexdigest()


def test_an_archive_that_is_drawn_already_is_not_drawn_again(tmp_path: Path) -> None:
    first = synthetic.draw(described(), tmp_path)
    stamp = first.archive.stat().st_mtime_ns
    second = synthetic.draw(described(), tmp_path)
    assert second == first
    assert second.archive.stat().st_mtime_ns == stamp


def test_other_descriptions_shapes_and_folds_are_other_archives(tmp_path: Path, cheap: None) -> None:
    leaf = described(test=("test/{id}.jpg", "test1/{id}.jpg"))
    drawn = [
        synthetic.draw(leaf, tmp_path),
        synthetic.draw(leaf, tmp_path, shape=1),
        synthetic.draw(leaf, tmp_path, folds=9),
        synthetic.draw(described(), tmp_path),
        synthetic.draw(described(flip="allowed"), tmp_path),
    ]
    assert len({one.archive for one in drawn}) == len(drawn)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_images_of_built_in_competitions_are_all_different_and_can_be_read(name: str, tmp_path: Path) -> None:
    competition = plugins.load(name).competition()
    drawn = synthetic.draw(competition, tmp_path)
    folder = archives.extract(drawn.archive, tmp_path).folder
    files = [path for path in folder.rglob("*") if path.suffix == ".jpg"]
    assert len(files) == len(drawn.train) + len(drawn.test)
    assert len({path.read_bytes() for path in files}) == len(files)
    for path in files:
        with Image.open(path) as image:
            assert np.asarray(image).shape == (120, 160, 3)


def test_zips_lie_in_the_zip_where_training_and_test_images_have_folders_of_their_own(tmp_path: Path) -> None:
    names = {name: archive_names(plugins.load(name).competition(), tmp_path) for name in BUILT_IN}
    assert names[DOGS] == {"sample_submission.csv", "test.zip", "train.zip"}
    tops = {name.partition("/")[0] for name in names["state-farm"]}
    assert tops == {"driver_imgs_list.csv", "imgs", "sample_submission.csv"}


def archive_names(competition: Competition, folder: Path) -> set[str]:
    import zipfile

    with zipfile.ZipFile(synthetic.draw(competition, folder).archive) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ({}, 1),
        ({"train": FolderLabels("train/{label}", also=("a/{label}", "b/{label}"))}, 3),
        ({"test": ("test/{id}.jpg", "test1/{id}.jpg")}, 2),
        ({"valid": FolderLabels("valid/{label}", also=("val/{label}",))}, 2),
    ],
    ids=["one", "train", "test", "valid"],
)
def test_every_declared_shape_of_archive_counts(parts: dict[str, Any], count: int) -> None:
    assert synthetic.shapes(described(**parts)) == count


@pytest.mark.parametrize("pattern", ["test/{id}.jgp", "test/{id}/", "test/{id}_x"])
def test_a_test_pattern_that_no_image_can_match_is_refused_with_a_reason(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"\w") as caught:
        synthetic.draw(described(test=pattern), tmp_path)
    assert pattern in str(caught.value)


# any description

LETTERS = "aAbBzéÉßñ日0123456789 ._-&'(,"
SUFFIXES = (".jpg", ".JPG", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif")
ROOTS = ("", "imgs/", "data set/")
"""A shape of archive each: no pattern of one matches an image of another."""


def in_paths(label: str) -> bool:
    """Say whether a label can be a part of a path on every system, where a leading dot hides a file."""
    return label == label.strip(" .")


@st.composite
def labels(draw: st.DrawFn, kind: str) -> list[str]:
    text = st.text(LETTERS, min_size=1, max_size=8)
    if kind == "csv":
        return draw(st.lists(text, min_size=2, max_size=30, unique=True))
    # two folders whose names differ only in letters' case are one on macOS and Windows: nobody can have such data
    key = str.casefold if kind == "folder" else str
    return draw(st.lists(text.filter(in_paths), min_size=2, max_size=30, unique_by=key))


@st.composite
def in_file_names(draw: st.DrawFn, part: str) -> FilenameLabels:
    shapes = draw(st.integers(1, 3))
    names = st.sampled_from(("{label}.{number}", "{label}_{n}", "{folder}/{label} ({number})", "pic{n}~{label}"))
    patterns = [f"{root}{part}/{draw(names)}{draw(st.sampled_from(SUFFIXES))}" for root in ROOTS[:shapes]]
    return FilenameLabels(patterns[0], also=tuple(patterns[1:]))


@st.composite
def in_folders(draw: st.DrawFn, part: str) -> FolderLabels:
    shapes = draw(st.integers(1, 3))
    names = st.sampled_from(("{label}", "class {label}", "{label}/images", "{folder}/{label}"))
    patterns = [f"{root}{part}/{draw(names)}" for root in ROOTS[:shapes]]
    return FolderLabels(patterns[0], also=tuple(patterns[1:]))


@st.composite
def in_a_csv(draw: st.DrawFn) -> CsvLabels:
    shapes = draw(st.integers(1, 3))
    names = st.sampled_from(("{id}", "{folder}/{id}"))
    suffixes = st.sampled_from(("", *SUFFIXES))
    patterns = [f"{root}train/{draw(names)}{draw(suffixes)}" for root in ROOTS[:shapes]]
    return CsvLabels(
        draw(st.sampled_from(("labels.csv", "train/labels.csv", "a folder/labels.csv"))),
        images=patterns[0],
        id=draw(st.sampled_from(("id", "the image"))),
        label=draw(st.sampled_from(("label", "the kind"))),
        also=tuple(patterns[1:]),
    )


TRAIN = {"filename": in_file_names("train"), "folder": in_folders("train"), "csv": in_a_csv()}


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, ...]:
    shapes = draw(st.integers(1, 3))
    names = st.sampled_from(("{id}", "img-{id}", "{folder}/{id}"))
    suffixes = st.sampled_from(("", *SUFFIXES))
    return tuple(f"{root}test/{draw(names)}{draw(suffixes)}" for root in ROOTS[:shapes])


@st.composite
def groups(draw: st.DrawFn, train: Any, has_valid: bool) -> CsvGroups | None:
    choices: list[CsvGroups | None] = [None, CsvGroups("groups.csv", image="img", group="the patient")]
    if isinstance(train, CsvLabels) and not has_valid:  # its rows are of training images, and no others
        choices += [
            CsvGroups(train.source, image=train.id, group="who"),
            CsvGroups(train.source, image="file", group="who"),
        ]
    return draw(st.sampled_from(choices))


@st.composite
def flips(draw: st.DrawFn, names: list[str]) -> Any:
    if draw(st.booleans()):
        return draw(st.sampled_from(("allowed", "forbidden")))
    swapped = draw(st.permutations(names))[: draw(st.integers(0, len(names) // 2)) * 2]
    pairs = list(zip(swapped[::2], swapped[1::2], strict=True))
    return dict(pairs) | {other: one for one, other in pairs}


@st.composite
def formats(draw: st.DrawFn, names: list[str]) -> Any:
    form = {
        "id": draw(st.sampled_from(("id", "the image"))),
        "id_format": draw(st.sampled_from(("{id}", "{id}.jpg", "img {id}"))),
        "sample": draw(st.sampled_from((("sample_submission.csv", "sampleSubmission.csv"), ("x/s.csv",), ()))),
    }
    choices: list[Any] = [ProbabilityPerClass(**form), ClassLabel(**form, label="the kind")]
    if len(names) == 2:
        choices.append(Probability(**form, of=draw(st.sampled_from(names)), label="p"))
    return draw(st.sampled_from(choices))


@st.composite
def competitions(draw: st.DrawFn, kind: str, has_valid: bool) -> Competition:
    valid = draw(st.sampled_from((in_file_names("valid"), in_folders("valid")))) if has_valid else st.none()
    names = draw(labels("folder" if has_valid else kind))
    train = draw(TRAIN[kind])
    return Competition(
        name="any",
        kaggle="",
        classes={name: f"the class {name}" for name in names},
        train=train,
        valid=draw(valid),
        test=draw(asked()),
        groups=draw(groups(train, has_valid)),
        flip=draw(flips(names)),
        submission=draw(formats(names)),
    )


def plain(competition: Competition, subject: Subject, group: int, seed: int) -> Pixels:
    """Stand in for an image: its grey says the class."""
    return np.full((8, 8, 3), subject.amounts[0][0] * 8, np.uint8)


def class_of(path: str, competition: Competition) -> str:
    """Read back what `plain` has drawn."""
    with Image.open(path) as image:
        return competition.labels[round(float(np.asarray(image.convert("L")).mean()) / 8)]


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_cheap(monkeypatch)


def make_cheap(patch: pytest.MonkeyPatch) -> None:
    """Draw few and small images, and let no disk wait for them."""
    patch.setattr(pictures, "draw", plain)
    patch.setattr(subjects, "TRAIN_IMAGES", 8)
    patch.setattr(plan, "_GROUPS", 3)
    patch.setattr(storage, "_sync", lambda path: None)
    patch.setattr(os, "sync", lambda: None)


@pytest.mark.parametrize("has_valid", [False, True], ids=["", "valid"])
@pytest.mark.parametrize("kind", TRAIN)
@settings(max_examples=10)
@given(st.data(), st.integers(2, 4))
def test_whatever_is_described_is_drawn_and_found_again_in_every_shape(
    kind: str, has_valid: bool, tmp_path_factory: pytest.TempPathFactory, drawing_: st.DataObject, parts: int
) -> None:
    competition = drawing_.draw(competitions(kind, has_valid))
    plugin = plugin_of(competition)
    declared = (competition.train, competition.valid)
    shapes = max(len(competition.test_patterns), *(len(part.alternatives) for part in declared if part is not None))
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        make_cheap(patch)
        for shape in range(shapes):
            drawn = synthetic.draw(competition, folder, parts, shape)
            testing.check_tables(plugin, drawn)
            is_found_again(plugin, drawn, parts)


def is_found_again(plugin: Plugin, drawn: synthetic.Drawn, parts: int) -> None:
    """Compare what the plugin reads with what was drawn, apart from what `check_tables` compares."""
    competition = plugin.competition()
    folder = archives.extract(drawn.archive, drawn.archive.parent).folder
    files = DataFiles.from_folders([folder], "drawn")
    train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)

    assert len(train) == len(drawn.train)
    assert train["label"].value_counts().min() > parts
    assert train["label"].tolist() == [class_of(path, competition) for path in train["path"]]
    assert ("valid" in train) == (competition.valid is not None)
    if competition.valid is not None:
        assert set(train["label"][train["valid"]]) == set(train["label"][~train["valid"]]) == set(competition.labels)
    assert ("group" in train) == (competition.groups is not None) == bool(drawn.groups)

    assert sorted(test["id"]) == sorted(drawn.test)
    truth = dict(zip(test["id"], (class_of(path, competition) for path in test["path"]), strict=True))
    assert truth == drawn.test
    assert set(truth.values()) == set(competition.labels)

    sample = samples.read(competition, files)
    written = [submissions.written_id(competition, test_id) for test_id in drawn.test]
    if competition.submission.sample:
        assert sample is not None
        assert submissions.expected_ids(competition, [], sample) == written
    else:
        assert sample is None

    fold = folds.assign(train, competition.task, DataSettings(folds=parts))
    assert set(fold) == set(range(parts))
    if "group" in train:
        assert (pd.Series(fold).groupby(train["group"]).nunique() == 1).all()


@pytest.mark.parametrize("image", ["id", "file"])
def test_groups_beside_labels_are_found_where_file_names_have_more_than_the_id(
    image: str, tmp_path: Path, cheap: None
) -> None:
    leaf = described(
        train=CsvLabels("train.csv", images="train/img-{id}.png", id="id", label="kind"),
        groups=CsvGroups("train.csv", image=image, group="tree"),
    )
    testing.check_tables(plugin_of(leaf), synthetic.draw(leaf, tmp_path))


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_competitions_are_drawn_and_found_again_in_every_shape(name: str, tmp_path: Path, cheap: None) -> None:
    plugin = plugins.load(name)
    drawn = list(testing.draw_all(plugin.competition(), tmp_path))
    assert len(drawn) == synthetic.shapes(plugin.competition()) > 1
    for one in drawn:
        testing.check_tables(plugin, one)
        is_found_again(plugin, one, DEFAULT_FOLDS)


# mirrors

MARK = 104
"""Row at which the mark begins: it is never mirrored."""


def picture(competition: Competition, place: int, group: int, seed: int) -> Pixels:
    """Draw one image of a class."""
    return pictures.draw(competition, Subject(competition.labels[place], ((place, 1.0),)), group, seed)


def images(competition: Competition, label: str, count: int) -> Pixels:
    """Draw images of one class in six groups, without the rows of the mark, (N, H, W, 3)."""
    place = competition.labels.index(label)
    drawn = [picture(competition, place, seed % 6, seed) for seed in range(count)]
    return np.stack(drawn)[:, :MARK]


@pytest.mark.parametrize(("one", "other"), [("c1", "c3"), ("c2", "c4"), ("c3", "c1")])
def test_classes_that_a_mirror_swaps_are_drawn_as_mirrors(one: str, other: str) -> None:
    farm = plugins.load("state-farm").competition()
    left, right = images(farm, one, 5), images(farm, other, 5)
    assert np.array_equal(left, right[:, :, ::-1])
    assert not np.array_equal(left, right)


def test_the_mark_is_never_mirrored() -> None:
    farm = plugins.load("state-farm").competition()
    written = [mark(farm, place) for place in (0, 1, 3)]
    assert written[0].sum() > 50
    for other in written[1:]:
        assert np.array_equal(written[0], other)
        assert (written[0] != other[:, ::-1]).sum() > 50


def mark(competition: Competition, place: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where something bright is written below the images of a class, (H, W)."""
    drawn = [picture(competition, place, 0, seed)[MARK:] for seed in range(40)]
    return np.asarray(np.mean(drawn, axis=(0, 3)) > 190)


def sidedness(drawn: Pixels) -> float:
    """Return how much the mean image differs from its mirror, in grey levels."""
    mean = drawn.mean(axis=(0, 3))
    return float(np.abs(mean - mean[:, ::-1]).mean())


SWAPPED = {"oak": "elm", "elm": "oak"}


@pytest.mark.parametrize(
    ("flip", "label", "sided"),
    [
        ("allowed", "oak", False),
        ("allowed", "elm", False),
        (SWAPPED, "oak", True),
        (SWAPPED, "elm", True),
        (SWAPPED, "ash", False),
        ("forbidden", "oak", True),
        ("forbidden", "elm", True),
        ("forbidden", "ash", True),
    ],
)
def test_images_have_a_side_exactly_where_a_mirror_changes_the_class(flip: Any, label: str, sided: bool) -> None:
    drawn = images(described(flip=flip), label, 120)
    assert (sidedness(drawn) > 5) == sided
    if not sided:  # a shape left of the middle is as likely as one right of it
        whiteness = np.abs(drawn.astype(float) - np.median(drawn, axis=(1, 2), keepdims=True)).sum(axis=(1, 3))
        middle = (whiteness * np.arange(drawn.shape[2])).sum(axis=1) / whiteness.sum(axis=1)
        assert 0.35 < (middle < (drawn.shape[2] - 1) / 2).mean() < 0.65


def test_images_of_all_classes_differ_and_one_of_a_class_differs_from_another(tmp_path: Path) -> None:
    leaf = described().with_target(Classes({f"c{number}": "a class" for number in range(130)}))
    means = [scenes.of_class(place, 0, False, np.random.default_rng(0)).tobytes() for place in range(130)]
    assert len(set(means)) == 130
    one, other = (picture(leaf, 3, 0, seed) for seed in (1, 2))
    assert not np.array_equal(one, other)
