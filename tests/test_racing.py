"""The race of candidate backbones: who takes part, who is chosen, and that nothing is raced twice."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

import pytest

from kagglekit.base.errors import UserError
from kagglekit.heads.features import FeatureEngine
from kagglekit.models import mounted_weights, registry
from kagglekit.pipeline import raced, racing
from kagglekit.recipe import FeatureSettings
from kagglekit.runs import filenames, store
from kagglekit.runs.choices import Race
from kagglekit.training import budget
from tests import drawing, trainers
from tests.conftest import TINY, Cli, failed, succeeded

DOGS = "dogs-vs-cats"
AUTO = FeatureSettings()


@pytest.fixture
def attached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kaggle's input folder."""
    folder = tmp_path / "input"
    folder.mkdir()
    monkeypatch.setenv("KAGGLEKIT_INPUT", str(folder))
    return folder


@pytest.fixture
def small(tiny: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The only default backbone, which takes no time."""
    monkeypatch.setattr(registry, "DEFAULT_CPU", (tiny,))
    monkeypatch.setattr(registry, "DEFAULT_CPU_OBLONG", (tiny,))
    monkeypatch.setattr(registry, "_COSTS", {tiny: 1.0})
    return tiny


@pytest.fixture
def other(tiny: str) -> str:
    """A candidate beside it."""
    return tiny.replace("=", "@96=")


def written(folder: Path, relative: str, size: int = 1) -> None:
    file = folder / relative
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(bytes(size))


def run(cli: Cli, home: Path, *words: str) -> tuple[store.Run, Race | None, str]:
    """Run a synthetic competition; return the run, its race and what was printed."""
    before = set(home.glob("*/synthetic/runs/*"))
    done = succeeded(cli("run", DOGS, "--method", "features", "--set", "folds=3", *words))
    made = set(home.glob("*/synthetic/runs/*")) - before or before
    (folder,) = made
    return store.Run(folder), store.Run(folder).race, done.out


def test_attached_weights_are_candidates_if_their_training_is_known(attached: Path) -> None:
    assert registry.candidates(AUTO, "cpu") == ()
    written(attached, "weights/resnet18.pth")  # of which training nobody says
    written(attached, "weights/tf_efficientnet_lite2.in1k.safetensors")  # which is installed
    assert registry.candidates(AUTO, "cpu") == ()
    written(attached, "b/tf-efficientnet-b4/pytorch/ns-jft-in1k/1/model.safetensors", 4)
    written(attached, "a/convnext_atto.d2_in1k.safetensors", 3)
    written(attached, "timm/tf_efficientnet_b0_ns-c0e6a31c.pth", 2)
    found = ("tf_efficientnet_b0.ns_jft_in1k", "convnext_atto.d2_in1k", "tf_efficientnet_b4.ns_jft_in1k")
    assert tuple(mounted_weights.attached()[-3:]) == found
    assert registry.candidates(AUTO, "cpu") == (*registry.DEFAULT_CPU, *found)
    assert registry.candidates(FeatureSettings(backbone=("resnet18",)), "cpu") == ()


def test_names_beside_auto_are_candidates(attached: Path) -> None:
    beside = FeatureSettings(backbone=("auto", "resnet18=w.pth", registry.DEFAULT_CPU[0]))
    assert registry.candidates(beside, "cpu") == (*registry.DEFAULT_CPU, "resnet18=w.pth")
    of_long_images = (*registry.DEFAULT_CPU_OBLONG, "resnet18=w.pth")
    assert registry.candidates(beside, "cpu", oblong=True) == of_long_images, "as without others"


def test_all_candidates_are_members_where_there_is_time(cli: Cli, home: Path, small: str, other: str) -> None:
    made, found, said = run(cli, home, "--backbone", f"auto,{other}", "--sample", "60")
    assert found is not None
    assert found.chosen == (small, other)
    assert {one.verdict for one in found.entrants} == {"chosen"}
    assert all(one.seconds and not one.images for one in found.entrants)
    assert made.finished().backbones == (f"{TINY}@160x160", f"{TINY}@96x96")
    for told in (said, succeeded(cli("info", made.id)).out, succeeded(cli("report", made.id, "--text")).out):
        assert raced.TITLE in told
        assert told.count("chosen") >= len(found.entrants)
    succeeded(cli("report", made.id))
    page = (made.folder / filenames.REPORT).read_text(encoding="utf-8")
    assert page.count('href="#race"') == page.count('<section id="race">') == 1
    assert all(html.escape(cell) in page for row in raced.rows(found) for cell in row)
    (made.folder / filenames.RACE).unlink()
    assert raced.TITLE not in succeeded(cli("info", made.id)).out


def test_a_race_on_a_sample_keeps_the_better_one_and_is_held_once(
    cli: Cli, home: Path, small: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(racing, "_MOST", 1)
    words = ("--backbone", f"auto,{other}", "--sample", "90")
    made, found, _ = run(cli, home, *words)
    assert found is not None
    (chosen,) = found.chosen
    best = min(found.entrants, key=lambda one: one.loss or 9.0)
    assert chosen == best.backbone == found.entrants[0].backbone
    assert best.behind == 0.0
    succeeded(cli("export", made.id))  # which finds its size and its file again
    assert all(one.images == 90 for one in found.entrants)
    monkeypatch.setattr(racing, "race", lambda *_: pytest.fail("raced again"))
    again, same, said = run(cli, home, *words)
    assert again.id == made.id
    assert same == found
    assert "race of backbones" in said


def test_with_auto_the_race_is_of_the_features_run(
    cli: Cli, home: Path, small: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backbone that is trained is the one that the race has chosen."""
    monkeypatch.setattr(registry, "DEFAULT_TRAINED_CPU", (small,))
    monkeypatch.setattr(budget, "MIN_IMAGES", 10)
    trainers.spare(monkeypatch)
    times = iter((0.001, 1000.0))
    monkeypatch.setattr(FeatureEngine, "seconds_per_image", lambda *_: next(times))
    words = ["run", DOGS, "--data", str(drawing.dogs(tmp_path, train=40)), "--method", "auto", "--no-report"]
    words += ["--backbone", f"auto,{other}", "--folds", "2", "--budget", "30m"]
    said = succeeded(cli(*words, "--set", "image_size=32", "--set", "phases=all epochs=1", "--set", "finish=")).out
    assert said.count(raced.TITLE) == 1
    by_method = {one.settings["method"]: one for one in map(store.Run, (home / DOGS / "runs").iterdir())}
    assert set(by_method) == {"features", "finetune", "blend"}
    race = by_method["features"].race
    assert race is not None
    assert race.chosen == (small,)
    assert by_method["finetune"].race is None
    shown = {name: raced.TITLE in succeeded(cli("info", one.id)).out for name, one in by_method.items()}
    assert shown == {"features": True, "finetune": False, "blend": False}


def test_what_is_too_slow_for_the_budget_leaves(
    cli: Cli, home: Path, small: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((0.001, 1000.0))
    monkeypatch.setattr(FeatureEngine, "seconds_per_image", lambda *_: next(times))
    _, found, _ = run(cli, home, "--backbone", f"auto,{other}", "--sample", "40")
    assert found is not None
    assert found.chosen == (small,)
    assert found.entrants[1].verdict.startswith("too slow")


def test_attached_weights_that_do_not_fit_end_no_run_but_named_ones_do(
    cli: Cli, home: Path, small: str, attached: Path
) -> None:
    shutil.copy(small.partition("=")[2], attached / "test_vit2.r160_in1k.safetensors")
    made, found, _ = run(cli, home, "--sample", "40")
    assert found is not None
    assert found.chosen == (small,)
    assert found.entrants[1].verdict == "can't be used"
    assert made.finished().backbones == (TINY,)
    wrong = f"auto,resnet18={small.partition('=')[2]}"
    said = failed(cli("run", DOGS, "--method", "features", "--backbone", wrong))
    assert "does not hold the weights of resnet18" in said
    with pytest.raises(UserError):
        registry.resolve("test_vit2.r160_in1k", AUTO)
