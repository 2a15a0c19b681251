"""Implementation of `lr-find` and `augmentations`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from kagglekit.base import gpu
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.data import tables
from kagglekit.data.project import Project
from kagglekit.images import decoding, depth, files
from kagglekit.models import registry, timm_models
from kagglekit.pipeline.methods import table
from kagglekit.pipeline.methods.finetune import FineTuning, find_rate
from kagglekit.pipeline.prepare import prepare
from kagglekit.recipe import DataSettings, FeatureSettings
from kagglekit.tasks.task import Task
from kagglekit.training import contact_sheet, layers, lr_finder, policies, rate_limits
from kagglekit.training.augmenter import Augmenter, Label, label_at

if TYPE_CHECKING:
    import pandas as pd


def lr_find(name: str, data_path: Path | None, settings: Mapping[str, Any], part: str) -> None:
    """Run the learning-rate finder with `part` of the model unfrozen. Print its suggestions and plot the curve."""
    console = Console()
    project = Project.load(name)
    if part not in get_args(layers.Trained):
        raise UserError(f"--train {part!r}: must be one of {', '.join(get_args(layers.Trained))}.")
    absent = project.lacks_data(data_path)
    if absent:
        console.warn(f"no data for {name} yet (use --data PATH): the curve is of SYNTHETIC images")
    job = prepare(project, data_path, {**settings, "method": FineTuning.name}, console, synthetic=absent)
    with suppress(OSError):  # nothing is trained: the folder of a new run is empty
        job.run.folder.rmdir()
    curve, found, plot = find_rate(job, cast("layers.Trained", part))
    model = job.backbones[0].name
    console.say(f"{len(curve.rates)} steps from {curve.rates[0]:.0e} to {curve.rates[-1]:.0e}: {curve.stopped}")
    if not found:
        console.warn(f"no suggestion: {lr_finder.why_none(curve)}")
    rows = []
    for suggestion, rate in found.items():
        highest, was_capped = rate_limits.capped(rate, model)
        rows.append((suggestion, f"{rate:.2e}", f"{highest:.2e}" if was_capped else ""))
    if rows:
        console.table(
            f"learning rates for {model}, {part}", ("suggestion", ">rate", ">limit for this model family"), rows
        )
        chosen = next((row for row in rows if row[0] == job.recipe.schedule.suggestion), rows[0])
        words = ["kagglekit", "run", name, "--method", FineTuning.name]
        words += ["--set", f"learning_rate={chosen[2] or chosen[1]}"]
        words += ["--data", str(data_path)] if data_path else []
        given = {key: value for key, value in settings.items() if key != "learning_rate"}
        words += [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        console.say(f"next: {shlex.join(words)}")
    console.say(f"written: {plot}")


def augmentations(
    name: str, data_path: Path | None, settings: Mapping[str, Any], num_images: int, num_views: int
) -> Path:
    """Write a contact sheet of augmented images as in the first epochs of training. Return the PNG file."""
    console = Console()
    project = Project.load(name)
    folder = project.workspace.folder
    chosen = table.resolve(project, settings, console.say)
    preprocessing = _preprocessing(chosen.features, chosen.compute.provider)
    size = preprocessing.size
    policy = policies.resolve(chosen.augmentation.augment, size, policies.of_plugin(project.plugin, size))
    project, images = _training_images(project, data_path, chosen.data.num_folds, console)
    competition = project.competition
    augmenter = Augmenter(
        transforms=policy,
        mirror=competition.mirror_classes,
        mirror_share=chosen.augmentation.mirror_share,
        erasing=chosen.augmentation.erasing,
        seed=chosen.data.seed,
    )
    chosen_images = list(_some(images, competition.task, num_images, chosen.data))
    used = [depth.used_values(content) for content, _ in chosen_images]
    levels = depth.levels_of(values for values in used if values is not None)
    some = (
        (preprocessing.apply(decoding.decode(content, levels)), label, files.digest(content))
        for content, label in chosen_images
    )
    sheet = folder / f"augmentations-{Path(chosen.augmentation.augment).stem}.png"
    contact_sheet.draw_sheet(augmenter, some, contact_sheet.captions(competition), num_views, sheet)
    console.say(
        f"{chosen.augmentation.augment} at {size[0]} x {size[1]}: {policies.describe(policy)}; {_beside(augmenter)}"
    )
    console.say(f"written: {sheet}")
    return sheet


def _preprocessing(features: FeatureSettings, provider: str) -> decoding.Preprocessing:
    """Return the preprocessing of the first backbone, without loading weights."""
    import torch

    specs = features.backbone
    if features.chooses:
        specs, _ = registry.default_trained(gpu.choose(provider))
    with torch.device("meta"):
        name, size, _ = registry.parsed(specs[0], features)
        model = timm_models.create(name)
    return timm_models.preprocessing_of(model, size).cropped(registry.crop_of(specs[0], features))


def _training_images(
    project: Project, data_path: Path | None, num_folds: int, console: Console
) -> tuple[Project, pd.DataFrame]:
    """Return the project with what its data says, and the training images: synthetic ones if there is no data yet."""
    if project.lacks_data(data_path):
        from kagglekit.competitions import synthetic

        console.warn(f"no data for {project.competition.name} yet (use --data PATH): the images are SYNTHETIC")
        project = project.synthetic
        data_path = synthetic.draw(project.competition, project.workspace.data, num_folds).archive
    found = project.find_data(data_path, console)
    try:
        project = project.on(found)
        return project, project.plugin.train_table(project.competition, found)
    finally:  # a remark may say why a table is missing
        tables.say_remarks(found, console)


def _some(table: pd.DataFrame, task: Task, count: int, data: DataSettings) -> Iterator[tuple[bytes, Label]]:
    """Yield (content, label) of `count` readable images, spread over the labels. Raises UserError if none exist."""
    shuffled = table.sample(frac=1, random_state=data.seed)
    labels, kind = np.unique(task.truth(shuffled["label"]), axis=0, return_inverse=True)
    chosen = [place * len(labels) // count for place in range(count)]
    readable = {place: _readable(shuffled["path"][kind == place], data.max_megapixels) for place in set(chosen)}
    found = False
    for place in chosen:
        content = next(readable[place], None)
        if content is not None:
            found = True
            yield content, label_at(labels, place)
    if not found:
        raise UserError(f"no training image can be read, for example {table['path'].iloc[0]}.")


def _readable(paths: pd.Series[str], max_megapixels: int) -> Iterator[bytes]:
    for path in paths:
        try:
            content, _ = files.read_bytes(path)
            decoding.inspect(content, max_megapixels)
        except decoding.ImageError:
            continue
        yield content


def _beside(augmenter: Augmenter) -> str:
    """Describe the augmentations that are not part of the policy."""
    share = f"{augmenter.mirror_share:.0%} of images are mirrored"
    return f"{'no flips' if augmenter.mirror is None else share}, {augmenter.erasing:.0%} have a rectangle erased"
