"""Predict a competition's test images with onnxruntime, from files to submission.csv. Part of every bundle.

This file, `bundled_model.py` with `gpu_errors.py`, `mounted.py`, `grouped.py` with `groups.py`, `csv_files.py`,
`decisions.py`, `decoding.py` with `depth.py` and `opening.py`, `image_names.py`, `rows.py` and `walking.py` are copied
unchanged into the bundle. They import nothing else of kagglekit, so that a notebook without network needs only numpy,
Pillow, OpenCV and onnxruntime.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING or __package__:
    from kagglekit.base import csv_files, image_names, walking
    from kagglekit.deploy import bundled_model, grouped, mounted
    from kagglekit.formats import rows
    from kagglekit.images import decoding
    from kagglekit.tasks import decisions
else:  # in a bundle, whose modules lie side by side
    import bundled_model
    import csv_files
    import decisions
    import decoding
    import grouped
    import image_names
    import mounted
    import rows
    import walking

Read = mounted.Read
Test = tuple[str, Read]
"""Path of a test image, and how to read it."""
Rows = NDArray[np.float64]
Run = Callable[[Mapping[str, NDArray[Any]]], Rows]
"""Input name -> N preprocessed images; returns their probabilities (N, C)."""
_WRITTEN_AT_ONCE = 1000
"""Number of images whose rows are laid out together."""
_MOST_PROBABLE = {"kind": "most probable"}
"""The decision of bundles whose run knew no other."""


def main(bundle: Path, data: Path, output: Path) -> None:
    """Predict the test images below `data` with the model in `bundle`, and write the submission to `output`.

    Raises SystemExit, with the reason, if there are no images, if two have one id, or if a folder or the sample
    submission can't be read.
    """
    about: dict[str, Any] = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    files = mounted.find_files(data)
    images = find_images(about, files)
    if not images:
        raise SystemExit(f"{data} has no test images: looked for {' or '.join(about['test'])}.")
    model = bundled_model.Model(bundle / "model.onnx")
    per_group = bool(about.get("per_group"))
    if per_group:
        header, ids, own = requested_groups(about, files, images)
        reads = {path: files[path] for path in own}
    else:
        header, ids, reads = requested_rows(about, files, _by_id(files, images))
        reads = {name: reads[name] for name in ids if name in reads}
    count = len(rows.row_ids(about, ids))
    print(f"{len(images)} test images, {count} rows, on {'GPU' if model.on_gpu else 'CPU'}", flush=True)
    found, bad = predict(model.run, about, reads, 64 if model.on_gpu else 2)
    fate = "its groups are predicted from their other images" if per_group else "its row gets the class prior"
    for name, reason in bad.items():
        print(f"WARNING: {name} {reason}: {fate}")
    if per_group:
        found = grouped.combined(about, own, found)
    prior = np.array(about["prior"])
    predictions = np.stack([found.get(name, prior) for name in ids])
    if about.get("exclusive", True):
        predictions /= predictions.sum(axis=1, keepdims=True)
    write(output, about, header, ids, predictions)
    kind = "groups" if per_group else "images"
    print(f"{output}: {count} rows, {len(ids) - len(found)} of {len(ids)} {kind} with the class prior")


def find_images(about: Mapping[str, Any], files: Mapping[str, Read]) -> dict[str, re.Match[str]]:
    """Return the test images: path -> what its pattern matches.

    The first pattern, or list of patterns, that matches any image is used. The layout may be inside up to two extra
    folders.
    """
    looked_at: dict[str, bool] = {}
    for depth in range(3):
        inside = [(path.split("/", depth)[depth], path) for path in files if path.count("/") >= depth]
        for layout in about["test_expressions"]:
            together = [re.compile(pattern) for pattern in ([layout] if isinstance(layout, str) else layout)]
            found: dict[str, re.Match[str]] = {}
            for inner, path in inside:
                match = next(filter(None, (compiled.fullmatch(inner) for compiled in together)), None)
                if match and _is_image(path, files[path], looked_at):
                    found[path] = match
            if found:
                return found
    return {}


def find_tests(about: Mapping[str, Any], files: Mapping[str, Read]) -> dict[str, Test]:
    """Return the test images by id. Raises SystemExit if two images have one id."""
    return _by_id(files, find_images(about, files))


def _by_id(files: Mapping[str, Read], images: Mapping[str, re.Match[str]]) -> dict[str, Test]:
    found: dict[str, Test] = {}
    for path, match in images.items():
        _add(found, match["id"], (path, files[path]))
    return found


def _is_image(path: str, read: Read, looked_at: dict[str, bool]) -> bool:
    """Return whether a file is an image, by its extension, else by its first bytes, which `looked_at` remembers."""
    if image_names.is_image(path):
        return True
    if path not in looked_at:
        try:
            looked_at[path] = walking.starts_like_image(read())
        except mounted.UnreadableError as error:
            print(f"WARNING: {path} {error}: it is taken for no image")
            looked_at[path] = False
    return looked_at[path]


def _add(found: dict[str, Test], name: str, test: Test) -> None:
    """Add a test image. Raises SystemExit if its id has an image."""
    first = found.setdefault(name, test)
    if first is not test:
        raise SystemExit(f"two test images have the id {name!r}: {first[0]} and {test[0]}; remove one.")


def find_sample(about: Mapping[str, Any], files: Mapping[str, Read]) -> csv_files.Table | None:
    """Return the table of the sample submission, or None. It has a declared name, else a usual one and the columns.

    Raises SystemExit if it can't be read: the rows to submit are unknown.
    """

    def content(path: str) -> bytes:
        try:
            return files[path]()
        except mounted.UnreadableError as error:
            raise SystemExit(f"{path} {error}: the rows to submit are unknown without it.") from error

    names = {path: path.lower().split("/")[-1] for path in files}
    for declared in about["samples"]:
        ending = f"/{declared.lower()}"
        fitting = [path for path in files if f"/{path.lower()}".endswith(ending)]
        if fitting:
            path = min(fitting, key=lambda path: path.count("/"))
            try:
                return csv_files.parse(content(path))
            except ValueError as error:
                raise SystemExit(f"{path} can't be read as CSV: {error}: the rows to submit are unknown.") from error
    usual = [content(path) for path, name in names.items() if about["samples"] and csv_files.is_sample(name)]
    tables = [
        table for table in usual if sorted(csv_files.columns(table, about["columns"])) == sorted(about["columns"])
    ]
    return csv_files.parse(tables[0]) if len(tables) == 1 else None


def requested_rows(
    about: Mapping[str, Any], files: Mapping[str, Read], tests: Mapping[str, Test]
) -> tuple[list[str], list[str], dict[str, Read]]:
    """Return the submission's columns, the ids of its images and the test images by id, as the sample has them, if any.

    Raises SystemExit for two images of one row.
    """
    sample = _sample_rows(about, files)
    if sample is not None:
        columns, ids = sample
        spelled = [image_names.spellings(test_id, path) for test_id, (path, _) in tests.items()]
        places = image_names.match([(_written(about, whole), _written(about, bare)) for whole, bare in spelled], ids)
        found: dict[str, Test] = {}
        for test, row in zip(tests.values(), places, strict=True):
            if row is not None:
                _add(found, ids[row], test)
        return columns, ids, {name: read for name, (_, read) in found.items()}
    if about.get("by_table"):  # training images may lie beside them
        raise SystemExit("no sample submission was found: only it says which images are those of the test.")
    by_id = {_written(about, test_id): read for test_id, (_, read) in tests.items()}
    return about["columns"], list(by_id), by_id


def requested_groups(
    about: Mapping[str, Any], files: Mapping[str, Read], images: Mapping[str, re.Match[str]]
) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Return the submission's columns, the ids of its groups, and path -> groups of the test images that have some."""
    own = grouped.of_images(about, files, images)
    names = list(dict.fromkeys(name for groups in own.values() for name in groups))
    sample = _sample_rows(about, files)
    columns, ids = (about["columns"], [_written(about, name) for name in names]) if sample is None else sample
    return columns, ids, grouped.as_listed(own, ids, lambda name: _written(about, name))


def _written(about: Mapping[str, Any], name: str) -> str:
    return str(about["id_format"].replace("{id}", name))


def _sample_rows(about: Mapping[str, Any], files: Mapping[str, Read]) -> tuple[list[str], list[str]] | None:
    """Return the columns of the sample submission and the ids of what its rows are of; None if there is no sample."""
    sample = find_sample(about, files)
    if sample is None:
        return None
    columns = sample.named(about["columns"])
    place = columns.index(about["id"])
    listed = dict.fromkeys(image_names.to_text(row[place]) for row in sample.rows)
    return columns, rows.image_ids(about, listed)


def predict(
    run: Run, about: Mapping[str, Any], tests: Mapping[str, Read], batch: int
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return id -> probabilities (C,), and for unreadable images id -> reason."""
    preprocessings = {name: decoding.Preprocessing.from_plain(plain) for name, plain in about["preprocessing"].items()}
    levels = next(iter(preprocessings.values())).levels

    def compute(ids: Sequence[str]) -> list[tuple[str, Rows | None, str]]:
        prepared, errors = [], {}
        for name in ids:
            try:
                image = decoding.decode_whole(tests[name](), about["max_megapixels"], levels)
            except (decoding.ImageError, mounted.UnreadableError) as error:
                errors[name] = str(error)
                continue
            prepared.append({key: value.apply(image) for key, value in preprocessings.items()})
        outputs = iter(())
        if prepared:
            feeds = {key: np.stack([image[key] for image in prepared]) for key in preprocessings}
            outputs = iter(run(feeds))
        return [(name, None if name in errors else next(outputs), errors.get(name, "")) for name in ids]

    found: dict[str, Rows] = {}
    bad: dict[str, str] = {}
    names = list(tests)
    chunks = (names[start : start + batch] for start in range(0, len(names), batch))
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[list[tuple[str, Rows | None, str]]]] = deque()
        for chunk in chunks:
            pending.append(pool.submit(compute, chunk))
            if len(pending) > 2 * workers:
                _take(pending.popleft().result(), found, bad)
        for future in pending:
            _take(future.result(), found, bad)
    return found, bad


def _take(results: Sequence[tuple[str, Rows | None, str]], found: dict[str, Rows], bad: dict[str, str]) -> None:
    for name, row, error in results:
        if row is None:
            bad[name] = error
        elif not np.isfinite(row).all():
            bad[name] = "has no finite probabilities: the model's precision overflows"
        else:
            found[name] = row


def write(output: Path, about: Mapping[str, Any], header: Sequence[str], ids: Sequence[str], predictions: Rows) -> None:
    """Write the rows of the images `ids` (N) with their predictions (N, C) to the submission, atomically.

    Ids and classes are written as the file names that they are.
    """
    decision = decisions.from_plain(about.get("decision", _MOST_PROBABLE))
    temporary = output.with_name(f".{output.name}.partial")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(map(image_names.from_text, header))
        for start in range(0, len(ids), _WRITTEN_AT_ONCE):
            some = slice(start, start + _WRITTEN_AT_ONCE)
            cells = rows.lay_out(about, ids[some], predictions[some], decision.apply(predictions[some]))
            table.writerows(zip(*(_plain(cells[column]) for column in header), strict=True))
    temporary.replace(output)


def _plain(cells: Any) -> list[Any]:
    """Return a column's cells as Python's own values, and texts as the file names that they are."""
    values = cells.tolist() if isinstance(cells, np.ndarray) else cells
    return [image_names.from_text(value) if isinstance(value, str) else value for value in values]
