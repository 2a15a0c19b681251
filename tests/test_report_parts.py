"""What the report is made of: attention, views, confusion, calibration, pictures, plots."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kagglekit import metrics
from kagglekit.base import figures
from kagglekit.base.console import Console
from kagglekit.deploy.fitted_run import FittedRun
from kagglekit.images import decoding, files
from kagglekit.images.decoding import Preprocessing
from kagglekit.pages import page, pictures
from kagglekit.report import channels, galleries, gradcam, saliency, stats
from kagglekit.report import charts as plots
from kagglekit.runs import findings, store
from kagglekit.tasks import kinds
from kagglekit.tasks.cases import Cases, Confidence
from kagglekit.tasks.targets import Classes, Labels, Numbers
from kagglekit.tasks.task import Task
from tests import damage, drawing
from tests.conftest import Cli, succeeded

PLAIN = Preprocessing(
    size=(64, 64), crop="squash", crop_share=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
)


def probabilities(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = random.dirichlet(np.ones(classes), count)
    return random.integers(0, classes, count), rows


# attention


@pytest.mark.parametrize("head", ["logistic", "logistic on logits", "mlp"])
def test_on_frozen_features_the_map_is_exact(
    cli: Cli, tiny_export: tuple[str, Path], tmp_path: Path, home: Path, head: str
) -> None:
    spec, cache = tiny_export
    shutil.copytree(cache, home / ".cache")
    settings = ("--head", head.partition(" ")[0], *(("--set", "output=logits") if "logits" in head else ()))
    words = ("run", "dogs-vs-cats", "--data", drawing.dogs(tmp_path), "--backbone", spec, *damage.QUICK, *settings)
    succeeded(cli(*words, "--set", "mlp_epochs=2"))
    run = store.Run(damage.only_run(home / "dogs-vs-cats"))
    found, fitted = findings.read(run), FittedRun(run, Console(io.StringIO()))
    looked = saliency.Attention(fitted)
    row = found.table.iloc[0]
    prepared = looked.prepare(decoding.decode(files.read_bytes(row["path"])[0]))
    part = f"fold{row['fold']}"
    found_maps = looked.maps([saliency.Asked(prepared, part, label) for label in range(2)])
    maps = [evidence.values for evidence in found_maps if evidence is not None]
    assert len(maps) == 2
    assert maps[0].shape == maps[1].shape
    if head == "mlp":  # not linear: what is shown is Grad-CAM's approximation
        assert any(evidence.any() for evidence in maps)
        return
    standardise, linear, _ = fitted.fitted(part).terms[0].head.layers
    nothing = np.zeros(len(standardise.mean))
    if head == "logistic on logits":  # which have a bias of their own
        nothing = fitted.fitted(part).networks[0].model().get_classifier().bias.detach().numpy()
    scores = np.array([evidence.mean() for evidence in maps])
    scores += ((nothing - standardise.mean) / standardise.scale) @ linear.weights + linear.bias
    shown = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    assert shown == pytest.approx(found.unfinished[0], abs=1e-4)


ARCHITECTURES = {  # how each arranges its last features
    "test_resnet": "maps",
    "test_convnext": "maps",
    "test_vit": "a token of its own",
    "test_mambaout": "channels last",
    "mobilenetv3_small_050": "layers after the mean",
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kind_of_features_is_traced_to_places(name: str) -> None:
    import timm
    import torch

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).eval().requires_grad_(requires_grad=False)
    size = model.pretrained_cfg["input_size"][1:]
    batch = torch.rand(2, 3, *size)
    maps = model.forward_features(batch)
    found = gradcam.evidence(model, batch, maps, model.forward_head, torch.tensor([1, 3]))
    assert found is not None
    assert found.shape[0] == 2
    assert found.shape[1] == found.shape[2] > 1
    assert np.isfinite(found).all()
    assert all(values.std() > 0 for values in found)
    again = model.forward_head(model.forward_features(batch))
    assert torch.equal(again, model(batch)), "the model is as it was"


def test_the_map_shows_where_the_class_is() -> None:
    import torch

    class Bright(torch.nn.Module):
        """Its one feature is brightness; its classes are bright and dark."""

        num_features = 1

        def forward_features(self, seen: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(seen.mean(dim=1, keepdim=True), 8)

        def forward_head(self, maps: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            pooled = maps.mean(dim=(2, 3))
            return pooled if pre_logits else torch.cat([pooled, -pooled], dim=1)

        def forward_intermediates(self, seen: torch.Tensor, **_: object) -> list[torch.Tensor]:
            return [self.forward_features(seen)]

    seen = torch.zeros(1, 3, 64, 64)
    seen[:, :, 16:24, 40:48] = 1
    model = Bright()
    found = gradcam.evidence(model, seen, model.forward_features(seen), model.forward_head, torch.tensor([0]))
    assert found is not None
    assert np.unravel_index(found[0].argmax(), found[0].shape) == (2, 5)


def test_maps_of_several_parts_are_laid_over_the_whole_image() -> None:
    """One network saw all of it, the other the middle."""
    spot = np.zeros((5, 5), np.float32)
    spot[2, 2] = 1
    corner = np.zeros((8, 8), np.float32)
    corner[0, 0] = 1
    whole, middle = (0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.5, 0.5)
    same = saliency._together([saliency.Evidence(corner, middle), saliency.Evidence(2 * corner, middle)])
    assert same is not None
    assert same.box == middle
    assert same.values == pytest.approx(1.5 * corner)
    both = saliency._together([saliency.Evidence(np.zeros_like(spot), whole), saliency.Evidence(corner, middle)])
    assert both is not None
    assert both.box == whole
    top, left = np.unravel_index(both.values.argmax(), both.values.shape)
    assert top / len(both.values) == pytest.approx(0.27, abs=0.04)
    assert left / len(both.values) == pytest.approx(0.27, abs=0.04)
    assert both.values[:10].max() == 0


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_filters_and_channels_are_drawn(name: str) -> None:
    import timm

    model = timm.create_model(name).eval()
    shown = channels.filters(model)
    assert shown is not None
    assert decoded(shown).size[0] > 24
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    size = model.pretrained_cfg["input_size"][1:]
    own = Preprocessing(**vars(PLAIN) | {"size": size})
    stages = channels.strongest_channels(model, own, saliency.Prepared({own: own.apply(image)}, {}))
    assert 1 < len(stages) <= channels.STAGES
    for stage in stages:
        assert len(set(stage.channels)) == channels.CHANNELS
        assert decoded(stage.picture).size[0] > 4 * 40


def decoded(uri: str) -> Image.Image:
    kind, _, content = uri.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return Image.open(io.BytesIO(base64.b64decode(content)))


# pictures


@given(
    height=st.integers(20, 400),
    width=st.integers(20, 400),
    crop=st.sampled_from(["squash", "centre"]),
    share=st.sampled_from([0.875, 1.0]),
)
def test_the_part_that_is_seen_is_the_part_that_is_kept(height: int, width: int, crop: str, share: float) -> None:
    """A ramp of brightness across and down says which rows and columns are left."""
    own = Preprocessing(**vars(PLAIN) | {"crop": crop, "crop_share": share})
    down = np.linspace(0, 1, height)[:, None] * np.ones(width)
    across = np.ones(height)[:, None] * np.linspace(0, 1, width)
    image = np.stack([down, across, across], axis=2)
    top, left, tall, wide = own.seen(height, width)
    kept = own.apply(np.round(255 * image).astype(np.uint8)) / 255
    margin = 0.06 + 2 / min(height, width)
    assert kept[0, :, 0].mean() == pytest.approx(top, abs=margin)
    assert kept[-1, :, 0].mean() == pytest.approx(top + tall, abs=margin)
    assert kept[:, 0, 1].mean() == pytest.approx(left, abs=margin)
    assert kept[:, -1, 1].mean() == pytest.approx(left + wide, abs=margin)


def test_pictures_are_scaled_down_and_never_up() -> None:
    image = np.zeros((300, 600, 3), np.uint8)
    assert decoded(pictures.photo(image, 200)).size == (200, 100)
    assert decoded(pictures.photo(image[:30, :40], 200)).size == (40, 30)


def test_an_overlay_is_clear_where_nothing_speaks_for_the_class() -> None:
    evidence = np.array([[-1.0, -1.0], [-1.0, 5.0]], np.float32)
    alpha = np.asarray(decoded(pictures.overlay(evidence)))[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[-1, -1] > 150
    nothing = np.asarray(decoded(pictures.overlay(-np.ones((3, 4), np.float32))))[..., 3]
    assert not nothing.any()


# views


def classes_of(rows: np.ndarray) -> Task:
    return kinds.of(Classes([str(n) for n in range(rows.shape[1])]))


def cases_of(truth: np.ndarray, rows: np.ndarray) -> Cases:
    task = classes_of(rows)
    return task.cases(truth, rows, task.decide(rows))


def confidence_of(truth: np.ndarray, rows: np.ndarray) -> Confidence:
    task = classes_of(rows)
    found = task.confidence(truth, rows, task.decide(rows))
    assert found is not None
    return found


@given(st.integers(2, 6), st.integers(1, 60), st.integers(0, 5))
def test_views_show_what_they_say(classes: int, count: int, seed: int) -> None:
    truth, rows = probabilities(count, classes, seed)
    chosen = galleries.choose(cases_of(truth, rows), seed)
    right = rows.argmax(axis=1) == truth
    top = np.sort(rows, axis=1)
    for view in galleries.VIEWS:
        assert [row.category for row in chosen[view.key]] == np.unique(truth).tolist()
        for row in chosen[view.key]:
            assert (truth[row.cases] == row.category).all()
            assert len(set(row.cases.tolist())) == len(row.cases) <= row.of
            if view.key.endswith("-correct"):
                assert right[row.cases].all()
            if view.key.endswith("-incorrect"):
                assert not right[row.cases].any()
    for row in chosen["most-incorrect"]:
        pool = np.flatnonzero((truth == row.category) & ~right)
        assert row.of == len(pool)
        if len(pool):
            assert rows.max(axis=1)[row.cases[0]] == rows.max(axis=1)[pool].max()
    for row in chosen["most-uncertain"]:
        pool = np.flatnonzero(truth == row.category)
        margin = top[:, -1] - top[:, -2]
        assert margin[row.cases[0]] == margin[pool].min()
    again = galleries.choose(cases_of(truth, rows), seed)
    assert all((a.cases == b.cases).all() for key in chosen for a, b in zip(chosen[key], again[key], strict=True))


def test_with_many_classes_the_hardest_are_shown() -> None:
    truth = np.repeat(np.arange(200), 4)
    rows = np.full((800, 200), 0.001)
    rows[np.arange(800), truth] = 1 - truth / 400  # later classes lose more
    rows /= rows.sum(axis=1, keepdims=True)
    chosen = galleries.choose(cases_of(truth, rows), 0)
    shown = [row.category for row in chosen["most-uncertain"]]
    assert shown == list(range(200 - len(shown), 200))
    assert sum(len(row.cases) for view in chosen.values() for row in view) <= galleries.MOST_PICTURES


# numbers


@given(st.integers(2, 7), st.integers(1, 80), st.integers(0, 5))
def test_confusion_and_parts_count_every_image_once(classes: int, count: int, seed: int) -> None:
    truth, rows = probabilities(count, classes, seed)
    predicted = rows.argmax(axis=1)
    found = stats.confusion(cases_of(truth, rows))
    matrix = found.matrix()
    assert matrix.sum() == count
    assert np.trace(matrix) == (truth == predicted).sum()
    pairs = stats.most_confused(found, 3)
    assert [pair.images for pair in pairs] == sorted((pair.images for pair in pairs), reverse=True)
    assert all(matrix[pair.truth, pair.predicted] == pair.images > 0 for pair in pairs)
    parts = stats.by_category(cases_of(truth, rows))
    assert sum(part.images for part in parts) == count
    assert sum(part.share for part in parts) == pytest.approx(1)
    mean = sum(part.loss * part.images for part in parts) / count
    assert mean == pytest.approx(metrics.log_loss_rows(truth, rows).mean())


@given(st.integers(2, 5), st.integers(1, 300), st.integers(0, 5))
def test_reliability_bins_hold_every_image_once(classes: int, count: int, seed: int) -> None:
    truth, rows = probabilities(count, classes, seed)
    bins = stats.reliability(confidence_of(truth, rows))
    assert sum(entry.images for entry in bins) == count
    for entry in bins:
        assert entry.low <= entry.confidence + 1e-12
        assert entry.confidence <= entry.high + 1e-12
        assert entry.least <= entry.accuracy <= entry.most
    assert 0 <= stats.calibration_error(bins) <= 1


@pytest.mark.parametrize("right", [True, False])
def test_bins_that_are_all_right_or_all_wrong_can_be_drawn(right: bool) -> None:
    for count in (6, 11, 21):
        rows = np.tile([0.9, 0.1], (count, 1))
        bins = stats.reliability(confidence_of(np.full(count, 0 if right else 1), rows))
        assert "<svg" in plots.calibration(bins, stats.calibration_error(bins))


def test_a_calibrated_model_has_a_small_error_and_a_bragging_one_a_large() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.5, 1, 20_000)
    rows = np.stack([sure, 1 - sure], axis=1)
    honest = (random.random(20_000) > sure).astype(int)
    assert stats.calibration_error(stats.reliability(confidence_of(honest, rows))) < 0.02
    bragging = random.integers(0, 2, 20_000)
    assert stats.calibration_error(stats.reliability(confidence_of(bragging, rows))) > 0.2


def test_the_worst_rows_come_first_and_add_up() -> None:
    losses = np.array([0.1, 5.0, 0.0, 2.0])
    worst = stats.worst_rows(losses, 3)
    assert [row.index for row in worst] == [1, 3, 0]
    assert stats.worst_rows(np.full(7, 0.1), 7)[-1].so_far <= 1
    assert worst[-1].so_far == pytest.approx(1.0)
    assert stats.worst_rows(np.zeros(2), 5)[-1].so_far == 0


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.5, "50.0%"),
        (0, "0.0%"),
        (1, "100.0%"),
        (0.99996, "99.996%"),
        (0.00001, "0.001%"),
        (1e-9, "<0.0001%"),
        (1 - 1e-9, ">99.9999%"),
        (float("nan"), "–"),
    ],
)
def test_shares_in_per_cent_never_round_to_certainty(share: float, text: str) -> None:
    assert page.percent(share) == text


def test_only_values_that_were_on_offer_are_drawn() -> None:
    truth, rows = np.zeros(50, int), np.tile([0.9, 0.1], (50, 1))
    assert (
        min(stats.loss_by_value(classes_of(rows), truth, rows, "temperature")) == 1
    )  # no mistake says how much sharper is too much
    truth[:20] = 1
    assert min(stats.loss_by_value(classes_of(rows), truth, rows, "temperature")) < 1


def test_labels_are_counted_once_for_each_that_an_image_has_or_was_given() -> None:
    task = kinds.of(Labels({"a": "Rust", "b": "Scab", "c": "Spot"}))
    truth = task.truth(["a|b", "", "c"])
    rows = np.array([[0.9, 0.4, 0.1], [0.6, 0.1, 0.1], [0.1, 0.1, 0.8]])
    found = task.cases(truth, rows, task.decide(rows))
    assert found.images.tolist() == [0, 0, 1, 2]
    assert found.true.tolist() == [0, 1, -1, 2]
    assert found.predicted.tolist() == [0, -1, 0, 2]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.6, 0.6, 0.8])
    parts = {part.name: (part.images, part.accuracy, part.precision) for part in stats.by_category(found)}
    assert parts["Rust"] == (1, 1.0, 0.5)
    assert parts["Scab"][:2] == (1, 0.0)
    assert not stats.confusion(found).matrix().any()
    assert task.words(truth) == ["Rust, Scab", "none", "Spot"]
    assert task.correct(truth, task.decide(rows)).tolist() == [0, 0, 1]
    chosen = galleries.choose(found, 0)
    assert [row.category for row in chosen["most-incorrect"]] == [0, 1, 2]
    assert [row.of for row in chosen["most-incorrect"]] == [1, 1, 0]


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 5))
def test_numbers_are_shown_by_their_errors(count: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    task = kinds.of(Numbers([f"n{column}" for column in range(columns)]))
    truth = random.normal(size=(count, columns)).round(1)
    rows = truth + random.normal(size=truth.shape)
    found = task.cases(truth, rows, task.decide(rows))
    assert len(found.images) == count * columns
    assert set(found.true.tolist()) <= set(range(len(found.categories)))
    chosen = galleries.choose(found, seed)
    assert "most-uncertain" not in chosen
    errors = np.abs(truth - rows)[found.images, found.columns]
    for row in chosen["most-incorrect"]:
        pool = np.flatnonzero((found.true == row.category) & ~found.right)
        assert row.of == len(pool)
        if len(pool):
            assert errors[row.cases[0]] == errors[pool].max()
    assert sum(part.images for part in stats.by_category(found)) == count * columns
    assert task.confidence(truth, rows, task.decide(rows)) is None


# plots


def test_a_plot_is_svg_that_a_page_can_hold_twice() -> None:
    def draw(figure: object) -> None:
        axes = figure.add_subplot()  # type: ignore[attr-defined]
        axes.plot([1, 2], [3, 4], color=figures.BLUE, label="a")
        figures.legend(axes)

    first, second = (figures.as_svg(draw, text) for text in ('what "it" shows <b>', "another"))
    assert first == figures.as_svg(draw, 'what "it" shows <b>')
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    references = set(re.findall(r'(?:"#|url\(#)([^")]+)', first))
    assert references
    assert references <= names[0]
    assert "currentColor" in first
    assert "var(--blue, #0072B2)" in first
    tree = ElementTree.fromstring(first.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
    assert tree.get("aria-label") == 'what "it" shows <b>'
