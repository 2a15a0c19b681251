"""The report: what it shows of a run, in a browser and in the terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit import metrics
from tests import damage, drawing, finetuned, trainers
from tests.browser import Opened, browser, open_page
from tests.conftest import REPORT, Cli, failed, succeeded

HOSTILE = '<img src=x onerror="window.hacked=1">\'"&amp;{{ 7*7 }}\u202e\n</script><script>window.hacked=1</script> 猫'
PLUGIN = f"""

@hookimpl
def competition():
    return Competition(
        name="hostile", kaggle="", classes={{"a <b>'": {HOSTILE!r}, 'c"&amp;': "plain", "$x_2$": "third"}},
        train=FolderLabels("train/{{label}}"), test="test/{{id}}.jpg", submission=ProbabilityPerClass(), flip="allowed",
        groups=CsvGroups("groups.csv", image="image", group="group"), leaderboard={{"<i>first</i>": 0.1}},
    )
"""
NAMES = ("<script>window.hacked=1<", 'it\'s "quoted" & <b>', "two\nlines", "空 ü\u202e")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, tiny_export: tuple[str, Path]) -> Iterator[Path]:
    """A run whose files, classes, groups and plugin say all that a page must not believe; its folder."""
    spec, cache = tiny_export
    place, home = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("home")
    shutil.copytree(cache, home / ".cache")
    files, rows = {}, ["image,group"]
    for colour, label in enumerate(("a <b>'", 'c"&amp;', "$x_2$")):
        for number in range(12):
            name = f"{NAMES[number % 4]}{number}"
            files[f"train/{label}/{name}.jpg"] = drawing.image(colour if number % 6 else 3, 20 * colour + number)
            rows.append(f'"{label.replace(chr(34), chr(34) * 2)}/{name.replace(chr(34), chr(34) * 2)}",<u>{number % 4}')
    files |= {f"test/{number}.jpg": drawing.image(number % 3, 100 + number) for number in range(4)}
    files["groups.csv"] = "\n".join(rows).encode()
    given = damage.Given(place / "hostile.py", damage.write(place / "data", files))
    given.write_plugin(PLUGIN)
    words = (
        "run",
        given.plugin,
        "--data",
        given.data,
        "--backbone",
        spec,
        "--folds",
        "2",
        "--set",
        "regularisation_grid=0.01",
    )
    damage.make(home, *words)
    yield damage.only_run(home / "hostile")
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Any, hostile: Path) -> Iterator[Opened]:
    opened = open_page(chromium, hostile / "report.html")
    yield opened
    opened.page.close()


# in a browser


def test_the_page_asks_nothing_of_the_network_and_complains_of_nothing(page: Opened) -> None:
    assert page.asked == []
    assert page.complaints == []
    text = Path(page.page.url.removeprefix("file://")).read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)


def test_names_cannot_inject_anything(page: Opened) -> None:
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("main img[onerror], main script, main b > b").count() == 0
    assert page.page.locator("main u, main i").count() == 0
    shown = page.page.locator("#categories tbody th").all_inner_texts()
    assert "{{ 7*7 }}" in shown[0]
    assert '<img src=x onerror="window.hacked=1">' in shown[0]
    assert shown[1:] == ["plain", "third"]
    assert page.page.locator("#pictures .card b", has_text="two").count() > 0


def test_the_policy_lets_no_other_script_run(page: Opened) -> None:
    page.page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.hacked = 2'; document.body.append(s); }"
    )
    assert page.page.evaluate("window.hacked") is None


def test_all_pictures_are_there_and_have_a_text(page: Opened) -> None:
    pictures = page.pictures
    assert len(pictures) > 40
    assert all(picture["width"] > 0 for picture in pictures)
    assert all(picture["alt"] is not None for picture in pictures)
    assert all(plot.get_attribute("aria-label") for plot in page.page.locator("svg.plot").all())
    assert page.page.locator("svg.plot").count() >= 2


def test_five_views_show_every_class(page: Opened) -> None:
    for key in ("random-correct", "random-incorrect", "most-correct", "most-incorrect", "most-uncertain"):
        assert page.page.locator(f"#{key} .row").count() == 3
    for card in page.page.locator("#most-incorrect .card, #random-incorrect .card").all():
        assert "✗ predicted" in card.inner_text()
    for card in page.page.locator("#most-correct .card").all():
        assert "✓" in card.inner_text()
    assert page.page.locator("#most-uncertain .card .map").count() > 0
    assert page.page.locator("#most-correct .card .map").count() == 0


def test_a_picture_is_enlarged_by_mouse_and_keyboard(page: Opened) -> None:
    browser_page = page.page
    card = browser_page.locator("#most-uncertain .card").first
    card.click()
    dialog = browser_page.locator("dialog#large")
    assert dialog.is_visible()
    first = dialog.locator(".told b").inner_text()
    assert first == card.locator("b").inner_text()
    assert dialog.locator("img").count() == 3  # bare, and again with what lies over it
    wide, narrow = dialog.locator(".frame").first.bounding_box(), card.locator(".frame").bounding_box()
    assert wide["width"] > narrow["width"]
    browser_page.keyboard.press("ArrowRight")
    assert dialog.locator(".told b").inner_text() != first
    browser_page.keyboard.press("ArrowLeft")
    assert dialog.locator(".told b").inner_text() == first
    browser_page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # by keyboard alone: the focus is back on the card
    assert browser_page.evaluate("document.activeElement.classList.contains('card')")
    browser_page.keyboard.press("Enter")
    assert dialog.is_visible()


def test_attention_can_be_hidden(page: Opened) -> None:
    shown = page.page.locator("#most-uncertain .map").first
    shown.scroll_into_view_if_needed()
    assert shown.is_visible()
    page.page.locator("#maps").uncheck()
    assert not shown.is_visible()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "dark")])
def test_it_fits_a_phone_and_follows_the_light(chromium: Any, hostile: Path, width: int, scheme: str) -> None:
    opened = open_page(chromium, hostile / "report.html", width, 800, scheme)
    assert not opened.is_wider_than_its_window()
    colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 128
    assert bright == (scheme == "light")
    opened.page.close()


def test_its_numbers_are_those_of_the_runs_tables(page: Opened, hostile: Path) -> None:
    labels = ["a <b>'", 'c"&amp;', "$x_2$"]
    oof = pd.read_parquet(hostile / "oof.parquet")
    truth = np.array([labels.index(label) for label in oof["label"]])
    rows = oof[labels].to_numpy()
    result = json.loads((hostile / "result.json").read_text())
    assert page.page.locator("#score").inner_text().startswith(f"{result['out_of_fold']:.5f}")
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (truth, rows.argmax(axis=1)), 1)
    shown = page.table("Confusion matrix")[1:]
    assert [[int(cell.split("\n")[0]) for cell in row[1:]] for row in shown] == expected.tolist()
    losses = metrics.log_loss_rows(truth, rows)
    for place, row in enumerate(page.table("Classes")[1:]):
        here = truth == place
        assert int(row[1]) == here.sum()
        assert float(row[4]) == pytest.approx(losses[here].mean(), abs=1e-4)
    worst = page.table("Most expensive rows")[1:]
    assert [float(row[4]) for row in worst] == pytest.approx(np.sort(losses)[::-1][: len(worst)].tolist(), abs=1e-4)
    assert len(page.table("Groups")) == 1 + 4


# by the commands


def test_essentials_in_the_terminal(cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(hostile.parents[2]))
    out = succeeded(cli("report", hostile.name, "--text")).out
    result = json.loads((hostile / "result.json").read_text())
    assert f"{result['out_of_fold']:.5f}" in out
    for heading in ("classes", "groups, hardest first", "rows with the largest loss", "expected calibration error"):
        assert heading in out
    assert "\x1b" not in out


def test_it_is_written_again_and_opened(cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(hostile.parents[2]))
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: shown.append(url) or True)
    before = (hostile / "report.html").read_bytes()
    (hostile / "report.html").unlink()
    succeeded(cli("report", hostile, "--open"))
    assert shown == [(hostile / "report.html").as_uri()]
    assert (hostile / "report.html").read_bytes() == before, "the same run has the same report"


def test_pictures_that_are_gone_or_changed_are_left_out_loudly(
    cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(hostile.parents[2]))
    images = pd.read_parquet(hostile / "images.parquet")
    copy = tmp_path / "20260101-0000-0a1b2c3d"
    shutil.copytree(hostile, copy)
    images["path"] = [path.replace("/data/", "/nowhere/") for path in images["path"]]
    images.to_parquet(copy / "images.parquet", index=False)
    done = succeeded(cli("report", copy))
    assert "pictures are left out: their files are gone or have changed" in done.out
    text = (copy / "report.html").read_text()
    assert "the file is gone" in text
    assert "Confusion" in text


def test_the_same_command_again_does_not_write_it_again(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny, *damage.QUICK)
    succeeded(cli(*words))
    run = damage.only_run(home / "dogs-vs-cats")
    assert not (run / "report.html").exists(), "--no-report leaves it out"
    assert "report" in succeeded(cli(*words, REPORT)).out
    before = (run / "report.html").stat().st_mtime_ns
    assert "MB in" not in succeeded(cli(*words, REPORT)).out
    assert (run / "report.html").stat().st_mtime_ns == before


def test_a_report_of_a_synthetic_run_says_so(cli: Cli, tiny: str, home: Path) -> None:
    done = succeeded(cli("run", "dogs-vs-cats", "--backbone", tiny, *damage.QUICK, REPORT))
    run = damage.only_run(home / "dogs-vs-cats" / "synthetic")
    text = (run / "report.html").read_text()
    assert "<title>SYNTHETIC dogs-vs-cats" in text
    assert "its score means nothing" in text
    assert "synthetic" in done.out.strip().splitlines()[-1].lower()
    assert "SYNTHETIC" in succeeded(cli("report", run, "--text")).out


def test_a_fine_tuned_run_shows_its_training(
    cli: Cli, tiny_export: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers.spare(monkeypatch, pictures=True)
    spec, cache = finetuned.small_export(tiny_export)
    shutil.copytree(cache, home / ".cache")
    words = finetuned.command(drawing.dogs(tmp_path), spec, *finetuned.ONE_MODEL, "--recipe", "eight-step")
    words += ("--set", "phases=head epochs=1", "--set", "phases=all epochs=1 cycle=1")
    succeeded(cli(*(word for word in words if word != "--no-report"), REPORT))
    run = finetuned.only_run(home)
    text = (run / "report.html").read_text()
    assert "Loss and learning rate of fold0-0 by step; phases: " in text
    assert "Learning-rate finder of fold0-0 before all:" in text
    assert "Contact sheet" in text
    assert 'class="map"' in text
    assert "Filters of the first layer" in text


@pytest.mark.parametrize(
    "words",
    [
        ("--holdout", "8"),
        ("--set", "finish=", "--head", "mlp", "--set", "mlp_epochs=1"),
        ("--set", "output=logits"),
    ],
    ids=" ".join,
)
def test_every_kind_of_run_has_a_report(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, words: tuple[str, ...]
) -> None:
    archive = drawing.dogs(tmp_path)
    done = succeeded(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--folds", "2", *words, REPORT))
    assert "could not be written" not in done.out
    assert "are left out" not in done.out
    text = (damage.only_run(home / "dogs-vs-cats") / "report.html").read_text()
    assert 'class="map"' in text


def test_two_backbones_are_both_explained(
    cli: Cli, tiny_export: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one architecture with different weights, and trained with two models each."""
    import timm
    import torch
    from safetensors.torch import save_file

    trainers.spare(monkeypatch, pictures=True)
    spec, cache = finetuned.small_export(tiny_export)
    shutil.copytree(cache, home / ".cache")
    torch.manual_seed(1)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    words = finetuned.command(drawing.dogs(tmp_path), f"{spec},test_resnet={tmp_path / 'other.safetensors'}")
    words += (*finetuned.ONE_MODEL, "--set", "models=2", "--set", "phases=all epochs=1")
    succeeded(cli(*(word for word in words if word != "--no-report"), REPORT))
    text = (finetuned.only_run(home) / "report.html").read_text()
    inside = text[text.index('id="inside"') :]
    filters = re.findall(r'class="pixels" src="([^"]+)"', inside)
    assert len(filters) == len(set(filters)) == 2
    assert "/other.safetensors" not in text, "a page that is shared says nothing of its writer's folders"
    assert "other.safetensors" in text


def test_a_report_that_fails_is_no_failure_of_the_run(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglekit.report import build

    def broken(*_: object) -> str:
        raise RuntimeError("no page today")

    monkeypatch.setattr(build, "render", broken)
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny, *damage.QUICK, REPORT)
    done = succeeded(cli(*words))
    run = damage.only_run(home / "dogs-vs-cats")
    assert f"(RuntimeError: no page today): `kagglekit report {run.name}` tries again" in done.out
    assert (run / "submission.csv").is_file()


def test_the_report_comes_even_where_kaggle_takes_no_submission(
    cli: Cli, tiny: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglekit.base.errors import UserError
    from kagglekit.cli import kaggle as commands

    def refused(*_: object, **__: object) -> None:
        raise UserError("none is left today.")

    monkeypatch.setattr(commands, "check_before_run", lambda *_, **__: None)
    monkeypatch.setattr(commands, "submit", refused)
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", tiny, *damage.QUICK)
    assert "none is left today" in failed(cli(*words, "--submit", REPORT))
    assert (damage.only_run(home / "dogs-vs-cats") / "report.html").is_file()


def test_an_edited_report_is_kept(cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLEKIT_HOME", str(hostile.parents[2]))
    before = (hostile / "report.html").read_bytes()
    (hostile / "report.html").write_text("my notes")
    assert "kept as report.changed-" in succeeded(cli("report", hostile)).out
    assert [path.read_text() for path in hostile.glob("report.changed-*.html")] == ["my notes"]
    assert (hostile / "report.html").read_bytes() == before


def test_runs_that_are_not_there_or_not_finished_have_none(cli: Cli, tmp_path: Path) -> None:
    assert "no run 'nowhere'" in failed(cli("report", "nowhere"))
    unfinished = tmp_path / "20260101-0000-0a1b2c3d"
    unfinished.mkdir()
    (unfinished / "run.json").write_text("{}")
    assert "is not finished: rerun its command" in failed(cli("report", unfinished))


def test_a_network_that_cannot_be_looked_into_costs_only_that(
    cli: Cli, hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglekit.report import gradcam

    def unknown(*_: object) -> None:
        raise NotImplementedError("no such thing")

    monkeypatch.setenv("KAGGLEKIT_HOME", str(hostile.parents[2]))
    monkeypatch.setattr(gradcam, "evidence", unknown)
    before = (hostile / "report.html").read_bytes()
    done = succeeded(cli("report", hostile))
    assert "can't be inspected (NotImplementedError: no such thing)" in done.out
    text = (hostile / "report.html").read_text()
    assert "There are no attention maps" in text
    assert "Confusion" in text
    assert "Filters of the first layer" in text, "that it can be had of"
    (hostile / "report.html").write_bytes(before)
