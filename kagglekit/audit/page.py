"""Write the audit's files: an HTML page, CSV tables and an editable list of images to drop."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filelock import FileLock

from kagglekit.audit import duplicates
from kagglekit.audit.duplicates import Pair
from kagglekit.audit.inspection import Inspection
from kagglekit.base import devices, native_output, parallel, storage
from kagglekit.base.console import Console
from kagglekit.base.figures import BLUE, ORANGE, as_svg, legend
from kagglekit.data import exclusions, folds
from kagglekit.pages import page, pictures
from kagglekit.runs.stages import Stage, Stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CANDIDATES = "candidates.csv"
"""File of the images that the user may want to drop. Rows with a yes go to the workspace's drops.csv."""
_GROUPS, _OF_GROUP = 24, 6
"""Number of groups of look-alikes on the page, and of pictures per group."""
_PAIRS = 12
"""Number of pairs on the page per kind of crossing."""
_SINGLE = 48
"""Number of odd images on the page, and of suspected label errors."""
_LONGEST = 320
FILMS = (
    "The images are frames of films, or just as similar: a typical image has many look-alikes. Only the closest pairs "
    "count, and altered copies can't be told from neighbouring frames."
)
CROSSINGS = {
    "label": ("Different labels", "If both show the same picture, one label is wrong."),
    "test": ("In training and in test", "The model has seen these answers: the leaderboard score may be too good."),
    "fold": ("In different folds", "These pairs may make the out-of-fold score too good."),
}


def write(found: Inspection, folder: Path, name: str, console: Console) -> None:
    """Write the audit's files to `folder`. Files that the user edited are kept under another name.

    `name` is the competition as the user typed it, for the suggested command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "duplicates.csv": duplicates_table(found),
        "labels.csv": labels_table(found),
        "odd.csv": odd_table(found),
        CANDIDATES: candidates(found),
    }
    contents = {file: exclusions.to_csv(frame) for file, frame in texts.items()}
    contents["audit.html"] = _page(found, name, folder / CANDIDATES)
    stages = Stages(folder, storage.digest(contents, 32), (Stage("audit", tuple(contents)),), console.warn)

    def work() -> None:
        for file, text in contents.items():
            storage.write_text(folder / file, text)

    with FileLock(folder / ".lock"):
        # without a manifest, it may come from a killed audit or from the user
        if (folder / CANDIDATES).is_file() and not (folder / "stages").is_dir():
            (folder / CANDIDATES).rename(
                folder / f"candidates.before-{storage.file_sha256(folder / CANDIDATES)[:8]}.csv"
            )
        stages.make("audit", work)


def duplicates_table(found: Inspection) -> pd.DataFrame:
    """Return all images with look-alikes, sorted by group."""
    table = found.table.assign(look_alikes=found.copies.groups)
    table = table[table.groupby("look_alikes")["id"].transform("size") > 1]
    marks = {f"crosses_{name}": np.where(flags, "yes", "") for name, flags in found.copies.crosses.items()}
    table = table.assign(**{name: mark[table.index] for name, mark in marks.items()})
    columns = ["look_alikes", "part", "id", "label", "group", "fold", *marks, "content", "path"]
    return table.sort_values(["look_alikes"], kind="stable")[columns]


def labels_table(found: Inspection) -> pd.DataFrame:
    """Return the suspected label errors, most suspect first."""
    rows = [
        {
            "id": found.table["id"].iloc[one.index],
            "label": one.label,
            "suggested": one.suggested,
            "margin": round(one.margin, 6),
            "path": found.table["path"].iloc[one.index],
        }
        for one in found.suspects
    ]
    return pd.DataFrame(rows, columns=["id", "label", "suggested", "margin", "path"])


def odd_table(found: Inspection) -> pd.DataFrame:
    """Return the odd and the unreadable images, with reasons."""
    odd = found.table.iloc[[one.index for one in found.odd]][["part", "id", "path"]]
    odd = odd.assign(reason=[one.reason for one in found.odd])
    return pd.concat([found.unreadable[odd.columns], odd], ignore_index=True)


def candidates(found: Inspection) -> pd.DataFrame:
    """Return the training images that the user may want to drop. Column `drop` is "yes" for dropped images.

    The list has all but the first of identical files with the same label, all copies with different labels (except
    frames of films), suspected label errors and blank images.
    """
    listed = dict(zip(found.dropped["id"], found.dropped["reason"], strict=True))
    ids, labels = found.table["id"], found.table["label"]
    for pair in found.copies.crossing["label"] if not found.copies.limits.films else ():
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            listed.setdefault(ids[one], f"looks like {ids[other]}, which is {labels[other]}")
    for suspect in found.suspects:
        listed.setdefault(ids[suspect.index], f"may be {suspect.suggested}")
    for odd in found.odd:
        if odd.reason.startswith("blank") and found.table["part"][odd.index] == "train":
            listed.setdefault(ids[odd.index], odd.reason)
    for _, same in found.train.groupby("content", sort=False):
        # keep one of them, unless the user has dropped it
        kept = [image for image in same["id"] if image not in listed]
        for copy in kept if same["label"].nunique() > 1 else kept[1:]:
            if len(same) > 1:
                other = next(image for image in same["id"] if image != copy)
                listed.setdefault(copy, f"the same file as {other}")
    already = set(found.dropped["id"])
    said = ["yes" if image in already else "" for image in listed]
    return pd.DataFrame({"id": list(listed), "reason": list(listed.values()), exclusions.DROP: said}, dtype=str)


@dataclass(frozen=True, kw_only=True)
class Thumb:
    """A picture with a caption."""

    id: str
    lines: list[str]
    source: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Shelf:
    """A group of pictures."""

    title: str
    thumbs: list[Thumb]


def _page(found: Inspection, name: str, candidates_file: Path) -> str:
    groups, of = _groups(found)
    crossing = {name: found.copies.crossing[name][:_PAIRS] for name in CROSSINGS}
    odd, suspects = found.odd[:_SINGLE], found.suspects[:_SINGLE]
    indices = {index for group in groups for index in group}
    indices |= {index for pairs in crossing.values() for pair in pairs for index in (pair.first, pair.second)}
    indices |= {one.index for one in odd} | {one.index for one in suspects}
    shown = _pictures(found, sorted(indices))

    def thumb(index: int, *lines: str) -> Thumb:
        row = found.table.iloc[index]
        source, shape = shown[index]
        own = [_where(row), *lines]
        return Thumb(id=str(row["id"]), lines=[line for line in own if line], source=source, shape=shape)

    return page.render(
        "audit.html.j2",
        found=found,
        parts_table=parts_table(found),
        classes=class_counts(found),
        group_counts=group_counts(found),
        balance=balance(class_counts(found)),
        sizes=_draw_sizes(found),
        groups=[Shelf(f"{of[group[0]]} images", [thumb(index) for index in group]) for group in groups],
        num_groups=sum(count > 1 for count in of.values()),
        num_alike=sum(count for count in of.values() if count > 1),
        crossings=CROSSINGS,
        films=FILMS if found.copies.limits.films else "",
        crossing={
            name: [Shelf(_alike(pair), [thumb(pair.first), thumb(pair.second)]) for pair in pairs]
            for name, pairs in crossing.items()
        },
        odd=[thumb(one.index, one.reason) for one in odd],
        suspects=[thumb(one.index, f"may be {one.suggested}", f"{one.margin:.1%} more probable") for one in suspects],
        candidates=len(candidates(found)),
        command=shlex.join(["kagglekit", "audit", name, "--apply", str(candidates_file)]),
    )


def _where(row: pd.Series[str]) -> str:
    if row["part"] == "test":
        return "test"
    group = f", group {row['group']}" if row["group"] else ""
    number = int(row["fold"])
    fold = {duplicates.NO_FOLD: "no fold", folds.TRAIN_ONLY: "training only"}.get(number, f"fold {number}")
    return f"{row['label']}, {fold}{group}"


def _alike(pair: Pair) -> str:
    close = "" if np.isnan(pair.cosine) else f", cosine similarity {pair.cosine:.2f}"
    return f"hash differs in {pair.bits} of 63 bits{close}"


def _groups(found: Inspection) -> tuple[list[list[int]], dict[int, int]]:
    """Return the most important groups of look-alikes, as indices, and the size of each group by its first index."""
    size = dict(zip(*(column.tolist() for column in np.unique(found.copies.groups, return_counts=True)), strict=True))
    table = found.table.assign(look=found.copies.groups, index=np.arange(len(found.table)))
    alike = table[table["look"].map(size) > 1]
    if alike.empty:
        return [], size
    # groups across labels or splits come first, and large groups before small ones
    told = alike.groupby("look").agg(
        labels=("label", "nunique"), parts=("part", "nunique"), count=("index", "size"), first=("index", "first")
    )
    told["crosses"] = (told["labels"] > told["parts"]) | (told["parts"] > 1)
    order = told.sort_values(["crosses", "count", "first"], ascending=[False, False, True]).index[:_GROUPS]
    groups = alike.groupby("look")["index"].apply(list)
    return [groups[look][:_OF_GROUP] for look in order], size


@native_output.decoders_silenced()
def _pictures(found: Inspection, indices: list[int]) -> dict[int, tuple[str, tuple[int, int]]]:
    paths, contents = found.table["path"].tolist(), found.table["content"].tolist()

    def read(index: int) -> tuple[str, tuple[int, int]]:
        image = pictures.read_again(paths[index], contents[index], found.levels)
        if image is None:
            return "", (4, 3)
        return pictures.photo(image, _LONGEST), (image.shape[1], image.shape[0])

    return dict(zip(indices, parallel.overlapped(indices, read, devices.cores()), strict=True))


def parts_table(found: Inspection) -> list[tuple[str, ...]]:
    """Return one row per split: images, median, smallest and largest sizes, shapes and brightness."""
    rows: list[tuple[str, ...]] = []
    for part in ("train", "test"):
        seen = [found.seen[index] for index in np.flatnonzero(found.table["part"] == part)]
        if not seen:
            continue
        tall, wide = (np.array([getattr(image, side) for image in seen]) for side in ("height", "width"))
        area = tall * wide
        least, most = int(area.argmin()), int(area.argmax())
        aspect = wide / tall
        rows.append(
            (
                "training" if part == "train" else "test",
                str(len(seen)),
                f"{np.median(wide):.0f} × {np.median(tall):.0f}",
                f"{wide[least]} × {tall[least]}",
                f"{wide[most]} × {tall[most]}",
                f"{np.median(aspect):.2f} ({aspect.min():.2f} to {aspect.max():.2f})",
                f"{np.mean([image.brightness for image in seen]):.0f}",
            )
        )
    return rows


PARTS_COLUMNS = ("split", ">images", ">median size", ">smallest", ">largest", ">width / height", ">brightness (0-255)")


def class_counts(found: Inspection) -> list[tuple[str, int, float]]:
    """Return (class, label or range, training images, share)."""
    task, labels = found.competition.task, found.train["label"].tolist()
    return [(name, count, count / max(len(labels), 1)) for name, count in task.counts(task.truth(labels))]


def group_counts(found: Inspection) -> list[tuple[str, int, int]]:
    """Return (group, training images, classes), largest group first; empty without groups."""
    grouped = found.train[found.train["group"] != ""].groupby("group")["label"]
    table = grouped.agg(["size", "nunique"]).sort_values("size", ascending=False, kind="stable")
    return [(str(name), int(row["size"]), int(row["nunique"])) for name, row in table.iterrows()]


def balance(counts: Iterable[tuple[str, int, float]]) -> str:
    """Return a sentence on the balance of classes."""
    sizes = sorted((count, name) for name, count, _ in counts)
    (least, rare), (most, common) = sizes[0], sizes[-1]
    if not least:
        return f"{rare} has no training image."
    ratio = most / least
    if ratio < 1.5:
        return f"The classes are balanced: {least} to {most} images each."
    return f"{common} has {ratio:.1f} times as many images ({most}) as {rare} ({least})."


def _draw_sizes(found: Inspection) -> str:
    """Return a plot of the sizes and shapes of images by split, as SVG."""
    train = (found.table["part"] == "train").to_numpy()
    sides = np.array([(image.height, image.width) for image in found.seen], np.float64).reshape(-1, 2)
    if not len(sides):
        return ""
    shorter, aspect = sides.min(axis=1), sides[:, 1] / sides[:, 0]
    text = (
        f"Distribution of the shorter side (median {np.median(shorter):.0f} pixels) and of width by height "
        f"(median {np.median(aspect):.2f}) of training and test images"
    )

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes, values, label in ((left, shorter, "shorter side in pixels"), (right, aspect, "width / height")):
            low, high = float(values.min()), float(values.max())
            bins = np.linspace(low, high, 31) if high > low else np.array([low - 0.5, low + 0.5])
            for where, name, colour, style in ((train, "training", BLUE, "-"), (~train, "test", ORANGE, "--")):
                if where.any():
                    share = np.full(int(where.sum()), 1 / where.sum())
                    axes.hist(
                        values[where],
                        bins,
                        weights=share,
                        histtype="step",
                        color=colour,
                        linestyle=style,
                        linewidth=1.8,
                        label=name,
                    )
            axes.set_xlabel(label)
            axes.set_ylabel("share of images")
            legend(axes)

    return as_svg(draw, text, (9, 3.4))
