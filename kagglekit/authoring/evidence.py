"""What the data of a competition holds: images by folder, tables and the sample submission."""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from kagglekit.authoring import joined_ids
from kagglekit.authoring.joined_ids import JoinedIds
from kagglekit.base import csv_files, image_names
from kagglekit.base.errors import UserError
from kagglekit.competitions import csv_tables, folder_layout, samples
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import Pattern, Together

if TYPE_CHECKING:
    import pandas as pd

_DEEPEST = 1
"""Folders above a table that counts."""
_SHARE = 0.5
"""A column names images, and a folder has those of a table, if so many are found."""
_MOST_TOGETHER = 3
_NAMES = ("train", "test")


@dataclass(frozen=True)
class Evidence:
    """The content of the data."""

    files: DataFiles

    @classmethod
    def of(cls, folder: Path, origin: str) -> Evidence:
        """Look at an unpacked folder. Raises UserError if it has no images."""
        files = DataFiles.from_folders([folder], origin)
        while top := _only_top(files):
            files = files.below(top)
        doubled = folder_layout.doubled(files, {path.partition("/")[0].lower() for path in files.paths})
        found = cls(files.without_double(doubled) if doubled else files)
        if not found.images:
            raise UserError(f"{origin} has no images: name the archive, or the folder that it was unpacked to.")
        return found

    @cached_property
    def images(self) -> Mapping[str, list[str]]:
        """Folder -> names of the images in it."""
        found = defaultdict(list)
        for path in self.files.paths:
            if image_names.is_image(path):
                folder, _, name = path.rpartition("/")
                found[folder].append(name)
        return dict(sorted(found.items()))

    @cached_property
    def names(self) -> frozenset[str]:
        """What images are called, by `key`."""
        return frozenset(key(name) for names in self.images.values() for name in names)

    @cached_property
    def sample_name(self) -> str:
        """Path of the sample submission; empty if there is none. Raises UserError if there are several."""
        named = list(samples.usual(self.files)) or self._unusual
        if len(named) > 1:  # one for each stage of a competition, of which the data has one
            named = [name for name in named if self._names_images(csv_tables.read(self.files, name, ()))] or named
        benchmarks = [name for name in self._every if self._is_benchmark(name)]
        return samples.only(named) or max(benchmarks, key=lambda name: len(self._every[name]), default="")

    @property
    def _unusual(self) -> list[str]:
        """Tables that are samples if nothing else is: one in a folder, or one that is called `submission.csv`."""
        below = [name for name in self.files.paths if name.count("/") <= _DEEPEST and csv_files.is_sample(name)]
        return below or [name for name in self._every if "submission" in name.lower()]

    @cached_property
    def sample(self) -> pd.DataFrame | None:
        """The sample submission, as text: the column of ids, then the others that have a name."""
        if not self.sample_name:
            return None
        rows = csv_tables.read(self.files, self.sample_name, ())
        different = rows[[column for column in rows.columns if rows[column].nunique() * 2 >= len(rows)]]
        first = self.naming(different, self.images) or rows.columns[0]
        return rows[[first, *(column for column in rows.columns if column not in (first, ""))]]

    def _names_images(self, rows: pd.DataFrame) -> bool:
        return bool(self.naming(rows, self.images))

    def _is_benchmark(self, name: str) -> bool:
        """Return whether a table says the same of all its images, and another one of these columns does not."""
        rows = self._every[name]
        alike = [other for other in self._every.values() if set(other.columns) == set(rows.columns)]
        return self._says_nothing(rows) and not all(map(self._says_nothing, alike))

    def _says_nothing(self, rows: pd.DataFrame) -> bool:
        column = self.naming(rows, self.images)
        return bool(column) and all(rows[other].nunique() == 1 for other in rows.columns if other != column)

    @cached_property
    def joined(self) -> JoinedIds | None:
        """What the ids of the sample submission join; None if each is that of an image."""
        return None if self.sample is None else self.joined_in(self.sample.iloc[:, 0].tolist())

    def joined_in(self, ids: Sequence[str]) -> JoinedIds | None:
        """Return the images and labels that ids join; None if they are those of images, or of neither."""
        if sum(key(text) in self.names for text in ids) >= _SHARE * len(ids):
            return None
        return joined_ids.split(ids, lambda text: key(text) in self.names)

    @property
    def asked(self) -> list[str]:
        """The images that the sample submission asks for."""
        if self.joined is not None:
            return list(self.joined.images)
        return [] if self.sample is None else self.sample.iloc[:, 0].tolist()

    @property
    def asked_columns(self) -> list[str]:
        """What the sample submission asks of an image: its columns after the id, or the labels in ids."""
        if self.joined is not None:
            return list(self.joined.labels)
        return [] if self.sample is None else list(self.sample.columns[1:])

    @property
    def asked_cells(self) -> list[str]:
        """What the sample submission says of its images, if that is in one column."""
        if self.sample is None or len(self.sample.columns) != 2:
            return []
        return self.sample.iloc[:, 1].str.strip().tolist()

    @cached_property
    def said_in_sample(self) -> set[str]:
        """The columns of the sample submission after the id, and the values in the last one."""
        return set() if self.sample is None else {*self.asked_columns, *self.sample.iloc[:, -1]}

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The other CSV files, as text."""
        return {name: rows for name, rows in self._every.items() if name != self.sample_name}

    @cached_property
    def _every(self) -> Mapping[str, pd.DataFrame]:
        """All CSV files but those that are called as samples are."""
        names = [name for name in self.files.paths if name.lower().endswith(".csv") and name.count("/") <= _DEEPEST]
        return {
            name: csv_tables.read(self.files, name, ())
            for name in names
            if not csv_files.is_sample(name) and csv_files.columns(self.files.paths[name].read_bytes())
        }

    def share(self, folder: str, keys: set[str]) -> float:
        """Return the share of a folder's images that `keys` name."""
        names = self.images[folder]
        return sum(key(name) in keys for name in names) / len(names)

    def naming(self, table: pd.DataFrame, folders: Iterable[str]) -> str:
        """Return the column of a table that names the images of folders best; empty if none does."""
        there = {key(name) for folder in folders for name in self.images[folder]}
        shares = {column: table[column].map(key).isin(there).mean() for column in table.columns if column}
        best = max(shares, key=lambda column: (shares[column], table[column].nunique()), default="")
        return best if best and shares[best] >= _SHARE else ""

    def pattern(
        self, folders: Sequence[str], ids: Sequence[str], placeholder: str = "id", folder: str = "folder"
    ) -> Pattern:
        """Return the path pattern of the images in folders, whose ids in tables have an ending or not.

        The placeholder `folder` stands for many folders.

        Raises UserError if no pattern fits them.
        """
        endings = Counter(image_names.ending_of(name) for folder in folders for name in self.images[folder])
        bare = not image_names.is_image(ids[0]) if ids else True
        ending = next(iter(endings)) if len(endings) == 1 and bare else ""
        if ids and "/" in ids[0] and self._have_names_twice(folders):
            return self._pattern_below(folders, f"{{{placeholder}/}}{ending}")
        written = f"{{{placeholder}}}{ending}"
        if len(folders) <= _MOST_TOGETHER:
            each = [below(each, written) for each in folders]
            return each[0] if len(each) == 1 else Together(*each)
        return below(self._path_of_many(folders, folder), written)

    def _have_names_twice(self, folders: Sequence[str]) -> bool:
        """Return whether two images of the folders have one name."""
        names = [name for folder in folders for name in self.images[folder]]
        return len(set(names)) < len(names)

    def _pattern_below(self, folders: Sequence[str], written: str) -> str:
        """Return the pattern of all images below the lowest common folder. Raises UserError if it has others."""
        top = common_folder(f"{folder}/" for folder in folders)
        others = [each for each in self.images if f"{each}/".startswith(f"{top}/") and each not in folders]
        if others or not top:
            raise UserError(
                f"{self.files.origin} has images of one name in several folders, such as {folders[0]}, and others in "
                f"{(others or folders)[-1]}: write the plugin without --from."
            )
        return below(top, written)

    def pattern_of_paths(self, names: Sequence[str]) -> str:
        """Return the pattern `…/{file_name/}` of images whose names have their folders; empty if they have none."""
        tops = {path.removesuffix(names[0]) for path in self.files.paths if f"/{path}".endswith(f"/{names[0]}")}
        if len(tops) != 1 or not all("/" in name and f"{min(tops)}{name}" in self.files.paths for name in names):
            return ""
        return f"{tops.pop() or below(common_folder(names), '')}{{file_name/}}"

    def _path_of_many(self, folders: Sequence[str], placeholder: str) -> str:
        """Return the path pattern of folders that are equally deep: a placeholder for each level where they differ."""
        levels = [folder.split("/") for folder in folders]
        if len({len(parts) for parts in levels}) > 1:
            raise UserError(
                f"{self.files.origin} has images of one kind in {len(folders)} folders, such as {folders[0]} and "
                f"{folders[-1]}: write the plugin without --from, and give --train and --test."
            )
        differ = [len(set(parts)) > 1 for parts in zip(*levels, strict=True)]
        free = iter([placeholder] if sum(differ) == 1 else string.ascii_lowercase)
        return "/".join(f"{{{next(free)}}}" if other else part for part, other in zip(levels[0], differ, strict=True))


def common_folder(paths: Iterable[str]) -> str:
    """Return the lowest folder that has all paths; empty if that is the whole data."""
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    return "/".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def _only_top(files: DataFiles) -> str:
    """Return the folder that has all files, unless it is one of training or test images; empty if there is none."""
    tops = {path.partition("/")[0] if "/" in path else "" for path in files.paths}
    top = tops.pop() if len(tops) == 1 else ""
    return "" if top.lower().startswith(_NAMES) else top


def key(name: str) -> str:
    """Return by what the names of images are compared here: without folders, ending, case and zeros before a number."""
    plain = image_names.folded(image_names.without_ending(name.strip())).rpartition("/")[2]
    return (plain.lstrip("0") or plain[:1]) if plain.isdecimal() else plain


def whole_key(name: str) -> str:
    """Return the same with folders, which tell images of one name apart."""
    return image_names.folded(image_names.without_ending(name.strip()))


def below(folder: str, name: str) -> str:
    """Return the path of a name in a folder, which may be that of the whole data."""
    return f"{folder}/{name}" if folder else name
