"""Facts about a run as names and values, for the page and the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kagglekit import recipe
from kagglekit.pipeline import postprocess, summary
from kagglekit.pipeline.methods import table
from kagglekit.recipe import Recipe
from kagglekit.report import stats
from kagglekit.report.charts import Curve
from kagglekit.runs.findings import Findings
from kagglekit.runs.record import names_of

OWN = "this run"
"""Name of the run among the leaderboard scores."""


def standing(found: Findings) -> str:
    """Return the run's position among the known leaderboard scores; empty if none are known."""
    lines = summary.leaderboard(found.record.leaderboard, found.result, OWN)
    if not lines:
        return ""
    index = [line.own for line in lines].index(True)
    before, after = lines[:index], lines[index + 1 :]
    if not before:
        return f"better than {after[0].name} ({after[0].score:.5f})"
    if not after:
        return f"behind {before[-1].name} ({before[-1].score:.5f})"
    return f"between {before[-1].name} ({before[-1].score:.5f}) and {after[0].name} ({after[0].score:.5f})"


Facts = list[tuple[str, str]]


def facts(found: Findings) -> Mapping[str, Facts]:
    """Return heading -> list of (name, value)."""
    record, result, machine = found.record, found.result, found.record.machine
    groups = f" of {found.table['group'].nunique()} groups" if "group" in found.table else ""
    left_out = [f"{result.quarantined} unreadable (training and test)"] if result.quarantined else []
    left_out += [f"{record.dropped} dropped by drops.csv"] if record.dropped else []
    backbones = [
        f"{name} ({one.parameters / 1e6:.1f} M parameters, {one.licence})"
        for name, one in zip(names_of(record.backbones), record.backbones, strict=True)
    ]
    scored = f"{result.scored_images}{groups}"
    return {
        "Run": [
            ("id", found.run.id),
            ("started", record.started),
            ("method", table.of_run(found.recipe).describe(found.recipe)),
            ("backbone", ", ".join(backbones)),
            ("scored on", _scored_on(found)),
            ("seed", str(record.seed)),
            *([("git commit", record.git_commit)] if record.git_commit else []),
        ],
        "Data": [
            ("training images", str(record.train_images)),
            ("scored images", scored),
            (found.task.target.kind, str(len(found.labels))),
            ("test images", str(record.test_images)),
            *([("left out", ", ".join(left_out))] if left_out else []),
        ],
        "Machine": [
            ("processor", f"{machine.processor or 'unknown'}, {machine.cores} cores"),
            ("GPUs", str(machine.gpus)),
            ("computed on", result.device),
            ("predicted on", ", ".join(result.predicted_on)),
            ("system", machine.system),
            ("versions", _versions(record.versions)),
        ],
        "Time": [
            *((name, f"{seconds:.1f} s") for name, seconds in result.seconds.items()),
            ("all", f"{result.all_seconds:.1f} s"),
        ],
    }


_FOLDERS = re.compile(r"(^|[=,])(?:[^=,]*[/\\])")
"""Pattern of the folders before a file name."""


def _scored_on(found: Findings) -> str:
    validation = found.result.validation
    return f"{found.table['fold'].nunique()} folds" if validation == "folds" else summary.SCORERS[validation]


def _versions(versions: Mapping[str, str]) -> str:
    names = ("kagglekit", "torch", "timm", "onnxruntime-gpu", "onnxruntime", "numpy")
    return ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


def settings(found: Findings) -> tuple[Facts, Facts]:
    """Return the settings that differ from the defaults, and all others, as (name, value)."""
    usual = Recipe().as_dict()
    # users share pages: remove their private paths
    values = {name: _FOLDERS.sub(r"\1", recipe.shown(value)) for name, value in found.recipe.as_dict().items()}
    changed = [(name, value) for name, value in values.items() if value != recipe.shown(usual[name])]
    same = [(name, value) for name, value in values.items() if value == recipe.shown(usual[name])]
    return changed, same


def of_groups(found: Findings) -> str:
    """Return what is of groups of images and what of images, where rows of the submission are of groups; else nothing.

    The competition's metric scores groups; a report shows images.
    """
    count, way = found.result.scored_groups, found.record.bundle.get("per_group")
    if count is None:
        return ""
    return (
        f"a row of the submission is of a group of images, predicted by the {way} of its images: the score and the "
        f"finishing steps are of {count} groups, all else is of {found.result.scored_images} images"
    )


def finishing_curves(found: Findings) -> list[Curve]:
    """Return the loss by value of each finishing step, after the kept steps before it, if the metric has such steps."""
    gates = {gate.step: gate for gate in found.result.finish}
    probabilities, curves = found.unfinished, []
    requested = list(found.recipe.finish.finish)
    if found.result.scored_groups is not None or (requested and not any(step in gates for step in requested)):
        return []
    for step in [*requested, *(step for step in postprocess.STEPS if step not in requested)]:
        gate = gates.get(step)
        curves.append(
            Curve(
                step=step,
                losses=stats.loss_by_value(found.task, found.truth, probabilities, step),
                without=float(found.task.losses(found.truth, probabilities).mean()),
                chosen=None if gate is None else gate.value,
                kept=gate is not None and gate.kept,
            )
        )
        if gate is not None and gate.kept and gate.value is not None:
            probabilities = postprocess.STEPS[step][0](probabilities, gate.value, found.task.activation)
    return curves


def worst(found: Findings, count: int) -> list[dict[str, Any]]:
    """Return the images with the largest loss: id, truth and prediction in words, loss and cumulative share."""
    rows = stats.worst_rows(found.losses, count)
    places = [row.index for row in rows]
    truth, predicted = (found.task.words(values[places]) for values in (found.truth, found.decided))
    ids = found.table["id"].iloc[places].tolist()
    return [
        {"id": image_id, "truth": own, "predicted": called, "loss": row.loss, "so_far": row.so_far}
        for image_id, own, called, row in zip(ids, truth, predicted, rows, strict=True)
    ]
