"""Predict a competition's test images with onnxruntime, from files to submission.csv. Part of every bundle.

This file, `csv_files.py`, `decoding.py` with `depth.py` and `opening.py`, `image_names.py` and `walking.py` are copied
unchanged into the bundle. They import nothing else of kagglekit, so that a notebook without network needs only numpy,
Pillow, OpenCV and onnxruntime.
"""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import re
import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

Read = Callable[[], bytes]
Name = Callable[[str], str]
Test = tuple[str, Read]
"""Path of a test image, and how to read it."""
Rows = NDArray[np.float64]


def main(
    bundle: Path, data: Path, output: Path, *, csv_files: Any, decoding: Any, image_names: Any, walking: Any
) -> None:
    """Predict the test images below `data` with the model in `bundle`, and write the submission to `output`.

    The last four are the modules of those names in the bundle. Raises SystemExit, with the reason, if there are no
    images or a folder can't be listed.
    """
    import onnxruntime

    about: dict[str, Any] = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    files = find_files(data, image_names, walking)
    tests = find_tests(about, files, image_names, walking)
    if not tests:
        raise SystemExit(f"{data} has no test images: looked for {' or '.join(about['test'])}.")
    wanted: list[Any] = ["CPUExecutionProvider"]
    if has_gpu() and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        getattr(onnxruntime, "preload_dlls", lambda: None)()  # older versions don't have it
        wanted.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=wanted)
    header, ids, reads = requested_rows(about, files, tests, csv_files, image_names)
    on_gpu = session.get_providers()[0].startswith("CUDA")
    print(f"{len(tests)} test images, {len(ids)} rows, on {'GPU' if on_gpu else 'CPU'}", flush=True)
    found, bad = predict(session, about, {i: reads[i] for i in ids if i in reads}, decoding, 64 if on_gpu else 2)
    for name, reason in bad.items():
        print(f"WARNING: {name} {reason}: its row gets the class prior")
    prior = np.array(about["prior"])
    write(output, about, header, ((i, found.get(i, prior)) for i in ids), image_names.from_text)
    print(f"{output}: {len(ids)} rows, {len(ids) - len(found)} of them the class prior")


def has_gpu() -> bool:
    """Return whether the driver of a CUDA GPU is installed."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def find_files(data: Path, image_names: Any, walking: Any) -> dict[str, Read]:
    """Return all files of data below a folder, by relative path, including those in zip archives as if unpacked."""
    found: dict[str, Read] = {}
    try:
        entries = sorted((entry for entry in walking.walk(data) if not entry.ignored), key=lambda e: e.relative)
    except OSError as error:
        raise SystemExit(f"{error.filename} can't be listed: {error.strerror}") from error
    for entry in entries:
        found[image_names.to_text(entry.relative)] = entry.path.read_bytes
        if entry.path.suffix.lower() == ".zip" and zipfile.is_zipfile(entry.path):
            archive = zipfile.ZipFile(entry.path)
            for member, read in _members(archive, PurePosixPath(entry.relative), walking):
                found.setdefault(member, read)
    return found


def _members(archive: zipfile.ZipFile, place: PurePosixPath, walking: Any) -> Iterator[tuple[str, Read]]:
    """Yield the files of an archive at `place` and of its nested archives, with their paths as if unpacked there.

    Images without a folder get a folder with the archive's name.
    """
    turn = threading.Lock()  # several threads read one file

    def reader(member: str) -> Read:
        def read() -> bytes:
            with turn:
                return archive.read(member)

        return read

    members = [name for name in archive.namelist() if not name.endswith("/")]
    data = [name for name in members if not any(map(walking.ignored_because, name.split("/")))]
    names = [name for name in data if not walking.ignored_file_because(name)]
    is_heap = len(names) > 1 and all("/" not in name and not name.lower().endswith((".csv", ".zip")) for name in names)
    folder = place.with_suffix("") if is_heap else place.parent
    for name in names:
        if name.lower().endswith(".zip"):
            inner = zipfile.ZipFile(io.BytesIO(archive.read(name)))
            yield from _members(inner, folder / name, walking)
        else:
            yield (folder / name).as_posix(), reader(name)


def find_tests(about: Mapping[str, Any], files: Mapping[str, Read], image_names: Any, walking: Any) -> dict[str, Test]:
    """Return the test images by id. The first pattern that matches any image is used.

    The layout may be inside up to two extra folders.
    """
    for depth in range(3):
        inside = {"/".join(path.split("/")[depth:]): read for path, read in files.items() if path.count("/") >= depth}
        for pattern in about["test_expressions"]:
            compiled = re.compile(pattern)
            matches = {path: match for path in inside if (match := compiled.fullmatch(path))}
            found = {
                match["id"]: (path, inside[path])
                for path, match in matches.items()
                if image_names.is_image(path) or walking.starts_like_image(inside[path]())
            }
            if found:
                return found
    return {}


def find_sample(about: Mapping[str, Any], files: Mapping[str, Read], csv_files: Any) -> Any:
    """Return the table of the sample submission, or None. It has a declared name, else a usual one and the columns."""
    names = {path: path.lower().split("/")[-1] for path in files}
    for declared in about["samples"]:
        for path, name in names.items():
            if name == declared.lower():
                return csv_files.parse(files[path]())
    usual = [files[path]() for path, name in names.items() if about["samples"] and csv_files.is_sample(name)]
    fitting = [
        content for content in usual if sorted(csv_files.columns(content, about["columns"])) == sorted(about["columns"])
    ]
    return csv_files.parse(fitting[0]) if len(fitting) == 1 else None


def requested_rows(
    about: Mapping[str, Any], files: Mapping[str, Read], tests: Mapping[str, Test], csv_files: Any, image_names: Any
) -> tuple[list[str], list[str], dict[str, Read]]:
    """Return the submission's columns, its ids and the test images by id, as the sample submission has them, if any."""

    def written(name: str) -> str:
        return str(about["id_format"].replace("{id}", name))

    sample = find_sample(about, files, csv_files)
    if sample is not None:
        columns = sample.named(about["columns"])
        place = columns.index(about["id"])
        ids = list(dict.fromkeys(image_names.to_text(row[place]) for row in sample.rows))
        spelled = [map(written, image_names.spellings(test_id, path)) for test_id, (path, _) in tests.items()]
        places = image_names.match(list(map(tuple, spelled)), ids)
        reads = (read for _, read in tests.values())
        return columns, ids, {ids[n]: read for n, read in zip(places, reads, strict=True) if n is not None}
    by_id = {written(test_id): read for test_id, (_, read) in tests.items()}
    return about["columns"], list(by_id), by_id


def predict(
    session: Any, about: Mapping[str, Any], tests: Mapping[str, Read], decoding: Any, batch: int
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return id -> probabilities (C,), and for unreadable images id -> reason."""
    preprocessings = {name: decoding.Preprocessing.from_plain(plain) for name, plain in about["preprocessing"].items()}
    levels = next(iter(preprocessings.values())).levels
    turn = threading.Lock()

    def compute(ids: Sequence[str]) -> list[tuple[str, Rows | None, str]]:
        prepared, errors = [], {}
        for name in ids:
            try:
                image = decoding.decode_whole(tests[name](), about["max_megapixels"], levels)
            except (
                decoding.ImageError,
                OSError,
                EOFError,
                zlib.error,
                zipfile.BadZipFile,
                NotImplementedError,
            ) as error:
                errors[name] = str(error)
                continue
            prepared.append({key: value.apply(image) for key, value in preprocessings.items()})
        rows = iter(())
        if prepared:
            feeds = {key: np.stack([image[key] for image in prepared]) for key in preprocessings}
            if batch > 2:  # a GPU computes one batch at a time
                with turn:
                    (computed,) = session.run(["probabilities"], feeds)
            else:
                (computed,) = session.run(["probabilities"], feeds)
            rows = iter(computed.astype(np.float64))
        return [(name, None if name in errors else next(rows), errors.get(name, "")) for name in ids]

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
            found[name] = row / row.sum()


def write(
    output: Path, about: Mapping[str, Any], header: Sequence[str], rows: Iterator[tuple[str, Rows]], name: Name
) -> None:
    """Write the submission atomically. `name` gives the file name that an id or a class is."""
    labels: list[str] = about["labels"]
    temporary = output.with_name(f".{output.name}.partial")
    with temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(map(name, header))
        for test_id, row in rows:
            if about["kind"] == "Probability":
                values: dict[str, Any] = {about["label"]: row[labels.index(about["of"])]}
            elif about["kind"] == "ClassLabel":
                values = {about["label"]: name(labels[int(row.argmax())])}
            else:
                values = dict(zip(labels, row.tolist(), strict=True))
            values[about["id"]] = name(test_id)
            table.writerow([values[column] for column in header])
    temporary.replace(output)
