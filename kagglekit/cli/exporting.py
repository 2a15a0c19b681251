"""Implementation of `export`, `predict` and `bundle`."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kagglekit.base import image_names, native_output, storage, streams
from kagglekit.base.columns import beside
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions import datafiles
from kagglekit.deploy.predictor import Image, Predictor, Row
from kagglekit.runs import filenames, store
from kagglekit.runs.store import Run
from kagglekit.tasks.decisions import Thresholds
from kagglekit.tasks.targets import SEPARATOR

_ROWS_TOGETHER = 1024
"""Number of rows written to a parquet file at a time."""


def export(reference: str, output: Path | None, *, floats: bool, fp16: bool) -> Path:
    """Write the ONNX file of a run and, with `fp16`, one in half precision next to it."""
    console = Console()
    run = store.find(reference)
    path = (output or run.folder / (filenames.EXPORTED_FLOATS if floats else filenames.EXPORTED)).expanduser().resolve()
    if path.suffix != ".onnx":
        raise UserError(f"--output {output}: the file must end in .onnx.")
    with run.locked(console):
        return _export(run, path, console, floats=floats, fp16=fp16)


def _export(run: Run, path: Path, console: Console, *, floats: bool = False, fp16: bool = False) -> Path:
    from kagglekit.deploy import onnx_file
    from kagglekit.deploy.fitted_run import FittedRun

    fitted = FittedRun(run, console)
    if run.record.bundle.get("per_group"):
        console.say("a row of the submission is of a group of images, and the file predicts images")
    for step in fitted.left_out:
        console.warn(
            f"the file predicts each image on its own, so it leaves out {step}, which the submission has: "
            f"out-of-fold {fitted.out_of_fold:.5f} instead of {run.finished().out_of_fold:.5f}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx_file.write(fitted, path, console, floats=floats)
    if fp16:
        onnx_file.write_fp16(fitted, path.with_suffix(".fp16.onnx"), console, floats=floats)
    return path


def _up_to_date(run: Run, console: Console) -> Path:
    """Return the ONNX file in the run's folder. Export it first if it is missing or out of date."""
    from kagglekit.deploy import onnx_file
    from kagglekit.deploy.fitted_run import FittedRun

    path = run.folder / filenames.EXPORTED
    return path if onnx_file.is_of(path, FittedRun(run, console)) else _export(run, path, console)


def bundle(reference: str, folder: Path, python: str, *, gpu: bool) -> None:
    """Write a folder for a Kaggle notebook without internet. Raises UserError if `gpu` chooses no wheels."""
    from kagglekit.deploy import bundle as bundles
    from kagglekit.deploy.fitted_run import FittedRun

    if gpu and not python:
        raise UserError("--gpu says which wheels to include: name Kaggle's Python version with --wheels 3.12.")
    console = Console()
    run = store.find(reference)
    with run.locked(console):
        model = _up_to_date(run, console)
        bundles.write(FittedRun(run, console), model, folder.expanduser().resolve(), python, gpu=gpu)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    console.say(f"written: {folder}, {size:.1f} MB; notebook.ipynb says what to do on Kaggle")
    if not python:
        console.say("if Kaggle's notebooks lack onnxruntime, use --wheels 3.12 (their Python version) to include it")


@native_output.decoders_silenced()
def predict(reference: str, given: Sequence[Path], output: Path | None, top: int, provider: str, batch: int) -> None:
    """Predict image files and folders. Write a table to a file, or CSV to the standard output."""
    if output and output.suffix not in (".csv", ".parquet"):
        raise UserError(f"--output {output}: the file must end in .csv or .parquet.")
    if output and top:
        raise UserError("--top and --output exclude each other: --top prints text, --output writes a table.")
    for path in given:
        if not path.exists():
            raise UserError(f"no file or folder {path}: name images, or folders of images.")
    # keep messages out of a table on the standard output
    console = Console(sys.stdout if output else sys.stderr)
    predictor = Predictor(_file(reference, console), provider, console.warn, batch=batch)
    ignored: Counter[str] = Counter()
    wanted = images_of(given, ignored)
    if top:
        _say_top(predictor, wanted, top)
        _say_ignored(ignored, console)
        return
    writer = _parquet if output and output.suffix == ".parquet" else _csv
    started, count, bad = time.perf_counter(), 0, 0
    with writer(output, predictor) as write:
        for row in predictor.predict(wanted):
            write(row)
            count += 1
            bad += row.probabilities is None
        if not count:
            raise UserError(f"no images in {', '.join(map(str, given))}.")
    seconds = time.perf_counter() - started
    console.say(f"{count} images on {predictor.session.device} in {seconds:.1f} s ({count / seconds:.0f} images/s)")
    if bad:
        console.warn(
            f"{bad} of {count} images can't be read: column {beside('error', list(predictor.classes))} says why"
        )
    _say_ignored(ignored, console)
    if output:
        console.say(f"written: {output}")


def _say_ignored(ignored: Counter[str], console: Console) -> None:
    if ignored:
        console.say(f"ignored: {', '.join(f'{count} {why}' for why, count in sorted(ignored.items()))}")


def _file(reference: str, console: Console) -> Path:
    """Return the ONNX file at a path or of a run. Export the run if needed."""
    path = Path(reference).expanduser()
    if path.suffix == ".onnx":
        if not path.is_file():
            raise UserError(f"no file {reference}: `kagglekit export RUN --output {path.name}` writes one.")
        return path
    run = store.find(reference)
    with run.locked(console):
        return _up_to_date(run, console)


def images_of(given: Sequence[Path], ignored: Counter[str]) -> Iterator[Image]:
    """Yield the given files, and the images below the given folders, in natural order. Count the files `ignored`.

    Ids of the latter are paths relative to the folder. With several folders, they include the folder's path.
    """
    several = sum(path.is_dir() for path in given) > 1
    for path in given:
        if not path.is_dir():
            yield Image(_id(path), path)
            continue
        for entry in datafiles.listed(path):
            why = entry.ignored or datafiles.why_no_image(entry.path)
            if why:
                ignored[why] += 1
            else:
                yield Image(_id(entry.path if several else Path(entry.relative)), entry.path)


def _id(path: Path) -> str:
    return image_names.to_text(path.as_posix())


def _say_top(predictor: Predictor, wanted: Iterator[Image], count: int) -> None:
    """Print one line per image, most probable classes or labels first, and what is decided; numbers in their order."""
    failed, done = 0, 0
    for row in predictor.predict(wanted):
        done += 1
        if row.probabilities is None:
            failed += 1
            sys.stdout.write(f"{row.id}: {row.error}\n")
            continue
        order = predictor.activation.first(row.probabilities, count)
        names, text = list(predictor.classes.items()), predictor.activation.text
        shown = [f"{_name(*names[place])} {text(row.probabilities[place])}" for place in order]
        decided = _decided(predictor, row, [names[place][0] for place in order])
        sys.stdout.write(f"{row.id}: {', '.join(shown)}{decided}\n")
    if not done:
        raise UserError("no images were given.")
    if failed:
        raise UserError(f"{failed} of {done} images can't be read.")


def _decided(predictor: Predictor, row: Row, shown: Sequence[str]) -> str:
    """Return what is decided of an image: always of labels, else where the `shown` ones, best first, do not say it."""
    one, other = (f"{text}{SEPARATOR}" for text in (row.decided, SEPARATOR.join(shown)))
    said = not row.decided or one.startswith(other) or other.startswith(one)
    if said and not isinstance(predictor.decision, Thresholds):
        return ""
    own = [_name(label, predictor.classes.get(label, label)) for label in row.decided.split(SEPARATOR) if label]
    return f"; decided: {', '.join(own) or 'none'}"


def _name(label: str, meaning: str) -> str:
    return label if label == meaning else f"{meaning} ({label})"


Write = Callable[[Row], None]


@contextmanager
def _csv(output: Path | None, predictor: Predictor) -> Iterator[Write]:
    """Write rows as they arrive to the standard output, or to a file that gets its name when it is complete."""
    labels = list(predictor.classes)
    header = [beside("id", labels), *labels, beside("decided", labels), beside("error", labels)]

    def into(file: Any) -> Write:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)

        def write(row: Row) -> None:
            numbers = [""] * len(labels) if row.probabilities is None else row.probabilities.tolist()
            table.writerow([row.id, *numbers, row.decided, row.error])

        return write

    if output is None:
        if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe on Windows has a limited character set
            sys.stdout.reconfigure(encoding="utf-8", errors=streams.READABLE)
        yield into(sys.stdout)
        return
    with storage.replacing(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        yield into(file)


@contextmanager
def _parquet(output: Path | None, predictor: Predictor) -> Iterator[Write]:
    """Write rows in blocks to a parquet file with run and provider, which gets its name when it is complete."""
    import pyarrow
    from pyarrow import parquet

    assert output is not None
    labels = list(predictor.classes)
    columns = [(beside("id", labels), pyarrow.string()), *((label, pyarrow.float32()) for label in labels)]
    texts = [(beside(name, labels), pyarrow.string()) for name in ("decided", "error")]
    schema = pyarrow.schema([*columns, *texts])
    about = predictor.session.metadata
    schema = schema.with_metadata({"provider": predictor.session.device, "run": about["run"]})
    rows: list[Row] = []

    def flush(table: Any) -> None:
        values: list[list[Any]] = [[row.id for row in rows]]
        values += [
            [None if row.probabilities is None else float(row.probabilities[place]) for row in rows]
            for place in range(len(labels))
        ]
        values += [[row.decided for row in rows], [row.error for row in rows]]
        table.write_table(pyarrow.table(values, schema=schema))
        rows.clear()

    with storage.replacing(output) as temporary, parquet.ParquetWriter(temporary, schema) as table:

        def write(row: Row) -> None:
            rows.append(row)
            if len(rows) == _ROWS_TOGETHER:
                flush(table)

        yield write
        flush(table)
