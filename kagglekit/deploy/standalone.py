"""Predict a competition's test images with onnxruntime, from files to submission.csv. Part of every bundle.

This file and `decoding.py` are copied unchanged into the bundle. They import nothing else of kagglekit, so that a
notebook without network needs only numpy, Pillow, OpenCV and onnxruntime.
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
Rows = NDArray[np.float64]


def main(bundle: Path, data: Path, output: Path, decoding: Any) -> None:
    """Predict the test images below `data` with the model in `bundle`, and write the submission to `output`.

    `decoding` is the module of that name in the bundle. Raises SystemExit, with the reason, if there are no images.
    """
    import onnxruntime

    about: dict[str, Any] = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    files = find_files(data)
    tests = find_tests(about, files)
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
    header, ids = requested_rows(about, files, tests)
    on_gpu = session.get_providers()[0].startswith("CUDA")
    print(f"{len(tests)} test images, {len(ids)} rows, on {'GPU' if on_gpu else 'CPU'}", flush=True)
    found, bad = predict(session, about, {i: tests[i] for i in ids if i in tests}, decoding, 64 if on_gpu else 2)
    for name, reason in bad.items():
        print(f"WARNING: {name} {reason}: its row gets the class prior")
    prior = np.array(about["prior"])
    write(output, about, header, ((i, found.get(i, prior)) for i in ids))
    print(f"{output}: {len(ids)} rows, {len(ids) - len(found)} of them the class prior")


def has_gpu() -> bool:
    """Return whether the driver of a CUDA GPU is installed."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


def find_files(data: Path) -> dict[str, Read]:
    """Return all files below a folder, by relative path, including those in zip archives as if unpacked."""
    found: dict[str, Read] = {}
    for folder, inner, names in os.walk(data):
        inner.sort()
        for name in sorted(names):
            path = Path(folder, name)
            relative = path.relative_to(data)
            if not _is_hidden(relative.as_posix()):
                found[relative.as_posix()] = path.read_bytes
            if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
                for member, read in _members(zipfile.ZipFile(path), PurePosixPath(relative.as_posix())):
                    found.setdefault(member, read)
    return found


def _members(archive: zipfile.ZipFile, place: PurePosixPath) -> Iterator[tuple[str, Read]]:
    """Yield the files of an archive at `place` and of its nested archives, with their paths as if unpacked there.

    Images without a folder get a folder with the archive's name.
    """
    turn = threading.Lock()  # several threads read one file

    def reader(member: str) -> Read:
        def read() -> bytes:
            with turn:
                return archive.read(member)

        return read

    names = [name for name in archive.namelist() if not name.endswith("/") and not _is_hidden(name)]
    is_heap = len(names) > 1 and all("/" not in name and not name.lower().endswith((".csv", ".zip")) for name in names)
    folder = place.with_suffix("") if is_heap else place.parent
    for name in names:
        if name.lower().endswith(".zip"):
            inner = zipfile.ZipFile(io.BytesIO(archive.read(name)))
            yield from _members(inner, folder / name)
        else:
            yield (folder / name).as_posix(), reader(name)


def _is_hidden(path: str) -> bool:
    """Return whether a file is hidden, or a leftover of a file manager."""
    parts = PurePosixPath(path).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")


def find_tests(about: Mapping[str, Any], files: Mapping[str, Read]) -> dict[str, Read]:
    """Return the test images, by id as in the submission. The first pattern that matches any image is used.

    The layout may be inside up to two extra folders.
    """
    for depth in range(3):
        inside = {"/".join(path.split("/")[depth:]): read for path, read in files.items() if path.count("/") >= depth}
        for pattern in about["test_expressions"]:
            compiled = re.compile(pattern)
            matches = {path: compiled.fullmatch(path) for path in inside}
            found = {
                about["id_format"].replace("{id}", match["id"]): inside[path]
                for path, match in matches.items()
                if match and Path(path).suffix.lower() in about["image_endings"]
            }
            if found:
                return found
    return {}


def requested_rows(
    about: Mapping[str, Any], files: Mapping[str, Read], tests: Mapping[str, Read]
) -> tuple[list[str], list[str]]:
    """Return the columns and ids of the submission, from the sample submission, if any."""
    for name in about["samples"]:
        sample = next((read for path, read in files.items() if path.lower().split("/")[-1] == name.lower()), None)
        if sample is not None:
            header, *rows = csv.reader(io.StringIO(sample().decode("utf-8-sig")))
            column = header.index(about["id"])
            return header, [row[column] for row in rows if row]
    return about["columns"], list(tests)


def predict(
    session: Any, about: Mapping[str, Any], tests: Mapping[str, Read], decoding: Any, batch: int
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return id -> probabilities (C,), and for unreadable images id -> reason."""
    preprocessings = {name: decoding.Preprocessing.from_plain(plain) for name, plain in about["preprocessing"].items()}
    turn = threading.Lock()

    def compute(ids: Sequence[str]) -> list[tuple[str, Rows | None, str]]:
        prepared, errors = [], {}
        for name in ids:
            try:
                image = decoding.decode_whole(tests[name](), about["max_megapixels"])
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


def write(output: Path, about: Mapping[str, Any], header: Sequence[str], rows: Iterator[tuple[str, Rows]]) -> None:
    """Write the submission atomically."""
    labels: list[str] = about["labels"]
    temporary = output.with_name(f".{output.name}.partial")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for name, row in rows:
            if about["kind"] == "Probability":
                values: dict[str, Any] = {about["label"]: row[labels.index(about["of"])]}
            elif about["kind"] == "ClassLabel":
                values = {about["label"]: labels[int(row.argmax())]}
            else:
                values = dict(zip(labels, row.tolist(), strict=True))
            values[about["id"]] = name
            table.writerow([values[column] for column in header])
    temporary.replace(output)
