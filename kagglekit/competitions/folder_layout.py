"""Folders of images as people have them: where the classes, the validation set and the test images are."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from kagglekit.base.errors import UserError
from kagglekit.base.walking import natural_key
from kagglekit.competitions.datafiles import DataFiles

WRAPPERS = 2
"""Number of extra folder levels around a layout, such as a folder named like the archive."""
_KINDS = {
    "train": re.compile(r"(seg)?train(ing)?(set|data|images)?"),
    "valid": re.compile(r"val(id(ation)?)?(set|data|images)?"),
    "test": re.compile(r"(seg)?test(ing|1)?(set|data|images)?"),
    "pred": re.compile(r"(seg)?pred(iction)?s?"),
}
_USUAL = ("train", "valid", "val", "validation", "test", "test1")
"""Names that are preferred to others of their kind, in this order."""
_SHOWN = 4


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str:
    """Return what a folder of this name holds: train, valid, test, or pred (unlabelled); empty if it may be a class."""
    plain = re.sub(r"[ _-]", "", name.lower())
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(plain)), "")


@dataclass(frozen=True)
class FolderLayout:
    """Where images are, by folders below `base`."""

    base: str
    """Folder around everything; empty if there is none."""
    train: str
    """Folder of the class folders; empty if they are in `base` itself."""
    classes: tuple[str, ...]
    valid: str
    """Folder of the validation set's class folders; empty if there is none."""
    tests: Mapping[str, Sequence[str]]
    """Folder of test images -> their paths below it."""

    def from_above(self) -> FolderLayout:
        """Return the same layout with folders by their path from above `base`: other files lie there."""
        if "{" in self.base or "}" in self.base:  # a pattern can't have it
            return self
        valid = f"{self.base}/{self.valid}" if self.valid else ""
        tests = {f"{self.base}/{folder}": paths for folder, paths in self.tests.items()}
        return FolderLayout("", f"{self.base}/{self.train}".rstrip("/"), self.classes, valid, tests)


def find(files: DataFiles) -> FolderLayout | None:
    """Return the layout of a folder; None if it has none, or one that can be read in several ways.

    Raises UserError if it has several data sets side by side.
    """
    images = [path for path in files.paths if files.is_image(path)]
    for _, bases in groupby(_bases(images), _depth):
        found = [layout for base in bases if (layout := _splits(base, _below(base, images))) is not None]
        if len(found) > 1:
            first, second = found[0].base, found[1].base
            raise UserError(
                f"{files.origin} has {len(found)} data sets, {first} and {second}{' and others' * (len(found) > 2)}: "
                f"name one of them, for example {files.origin}/{first}."
            )
        if found:
            return found[0]
    return _classes_alone(files, images)


def doubled(files: DataFiles, known: Collection[str] = ()) -> list[str]:
    """Return the folders such as `train/train` that have all files of the folder around them.

    Besides those with usual names, folders with one of the `known` names count, which are in small letters.
    """
    inner: dict[str, set[str]] = defaultdict(set)
    for path in files.paths:
        top, _, rest = path.partition("/")
        if rest and (kind_of(top) or top.lower() in known):
            inner[top].add(rest.partition("/")[0] if "/" in rest else "")
    once = {top: names.pop() for top, names in inner.items() if len(names) == 1}
    return [f"{top}/{name}" for top, name in once.items() if top.lower() == name.lower()]


def describe(files: DataFiles) -> str:
    """Return the first folders with images, each with their number: `a/cat (12 images), a/dog (9 images)`."""
    counts = Counter(path.rpartition("/")[0] for path in files.paths if files.is_image(path))
    if not counts:
        others = f" in its {len(files.paths)} files, such as {min(files.paths)}" if files.paths else ""
        return f"no images{others}"
    shown = [f"{folder or '.'} ({counts[folder]} images)" for folder in sorted(counts, key=natural_key)[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(counts) - _SHOWN} more folders" if len(counts) > _SHOWN else "")


def _bases(images: Iterable[str]) -> list[str]:
    """Return the folders that have a folder of training images, upper ones first."""
    found = set()
    for path in images:
        *parents, _ = path.split("/")
        found |= {"/".join(parents[:n]) for n, name in enumerate(parents[: WRAPPERS + 1]) if kind_of(name) == "train"}
    return sorted(found, key=lambda base: (_depth(base), natural_key(base)))


def _depth(base: str) -> int:
    return base.count("/") + bool(base)


def _below(base: str, paths: Iterable[str]) -> list[str]:
    return [path[len(base) + 1 :] for path in paths if path.startswith(f"{base}/")] if base else list(paths)


def _splits(base: str, images: Iterable[str]) -> FolderLayout | None:
    """Return the layout of images in folders such as `train/`, also `train/train/`."""
    folders = _by_kind(images)
    trains = {folder: paths for folder, paths in folders["train"].items() if len(_classes(paths)) > 1}
    if not trains or (len(trains) > 1 and _USUAL[0] not in trains):
        return None
    train = min(trains, key=_preference)
    classes = _classes(trains[train])
    valid = min((each for each, paths in folders["valid"].items() if _classes(paths)), key=_preference, default="")
    tests = folders["test"] or folders["pred"]
    labelled = [
        folder
        for folder, paths in folders["test"].items()
        if len(_classes(paths)) > 1 and {*_classes(paths)} <= {*classes}
    ]
    if labelled and folders["pred"] and not valid:  # only one of them can be there to be predicted
        valid, tests = min(labelled, key=_preference), folders["pred"]
    return FolderLayout(base, train, classes, valid, dict(sorted(tests.items(), key=lambda each: _preference(each[0]))))


def _by_kind(images: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Return kind -> folder such as `train` or `train/train`, in lower case -> the paths below it."""
    inside = [(path, path.split("/")[:-1]) for path in images if kind_of(path.partition("/")[0]) and "/" in path]
    # a class may be called train: only where it has no others beside it, the folder is a double
    single = {top.lower() for _, (top, *deeper) in inside if deeper and kind_of(deeper[0]) != kind_of(top)}
    folders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, parents in inside:
        folder = "/".join(parents[: 1 if parents[0].lower() in single else 2])
        folders[kind_of(parents[0])][folder.lower()].append(path[len(folder) + 1 :])  # patterns ignore case
    return folders


def _preference(folder: str) -> tuple[int, str]:
    return _USUAL.index(folder) if folder in _USUAL else len(_USUAL), folder


def _classes(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the classes of images in class folders."""
    return tuple(sorted({path.partition("/")[0].strip() for path in paths if "/" in path}, key=natural_key))


def _classes_alone(files: DataFiles, images: Sequence[str]) -> FolderLayout | None:
    """Return the layout of class folders and nothing else. A CSV may say more than the folders."""
    base = ""
    for _ in range(WRAPPERS):
        tops = {path.partition("/")[0] if "/" in path else "" for path in _below(base, images)}
        if len(tops) != 1 or "" in tops:
            break
        base = f"{base}/{tops.pop()}".strip("/")
    below = _below(base, images)
    classes = _classes(below)
    direct = {path.partition("/")[0].strip() for path in below if path.count("/") == 1}
    kinds = Counter(map(kind_of, classes))
    has_tables = any("/" not in path and path.lower().endswith((".csv", ".tsv")) for path in _below(base, files.paths))
    # a class may be called train: a vehicle
    if kinds[""] < 2 or kinds.keys() - {"", "train"} or direct != set(classes) or has_tables:
        return None
    if any("/" not in path for path in below):
        return None
    return FolderLayout(base, "", classes, "", {})
