"""What the decision step gains where there is nothing to learn: real images, with the labels of a table shuffled.

For each seed the values of some columns of the table change rows, all columns together, and `kagglekit run` starts on
that. Features are computed once: they are cached by the content of images. No gain is honest, except where a metric
prefers one constant answer to another: then no more than the best constant answer has.

    python -m benchmarks.shuffled aptos2019 ARCHIVE train.csv diagnosis
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.timing import machine
from kagglekit.base import storage
from kagglekit.competitions import plugins
from kagglekit.runs import filenames, findings, store
from kagglekit.runs.findings import Findings


def shuffle(path: Path, columns: Sequence[str], seed: int) -> None:
    """Let the values of some columns of a table change rows."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    order = np.random.default_rng(seed).permutation(len(table))
    table[list(columns)] = table[list(columns)].to_numpy()[order]
    table.to_csv(path, index=False)


def run(home: Path, name: str, data: Path, options: Sequence[str]) -> Findings:
    """Run a competition, and return its scored images; those of the last run, if several are made."""
    before = set(home.glob("*/runs/*"))
    command = [sys.executable, "-m", "kagglekit", "run", name, "--data", str(data), "--no-report", *options]
    subprocess.run(command, env=os.environ | {"KAGGLEKIT_HOME": str(home)}, check=True, stdout=subprocess.DEVNULL)
    made = set(home.glob("*/runs/*")) - before
    return findings.read(store.Run(max(made, key=lambda run: (run / "result.json").stat().st_mtime_ns)))


def constant(found: Findings) -> float:
    """Return the score of the best answer that is the same for all images: a class, or the most frequent labels."""
    metric = plugins.load(found.record.competition.name).competition().with_target(found.task.target).scored_by
    truth, columns = found.truth, len(found.labels)
    if truth.ndim == 1:
        answers = [np.full(len(truth), label) for label in range(columns)]
    else:
        order = np.argsort(-truth.sum(axis=0), kind="stable").tolist()
    answers = [np.tile(np.isin(range(columns), some), (len(truth), 1)) for some in accumulate([[one] for one in order])]
    scores = [float(metric.score(truth, answer)) for answer in answers]
    return min(scores) if metric.lower_is_better else max(scores)


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("name", help="Competition.")
    options.add_argument("archive", type=Path)
    options.add_argument("table", help="Table of labels in the archive.")
    options.add_argument("column", nargs="+", help="Columns of labels.")
    options.add_argument("--seeds", type=int, default=5)
    chosen = options.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(chosen.archive) as archive:
            archive.extractall(folder / "data")
        for seed in range(chosen.seeds):
            shuffle(folder / "data" / chosen.table, chosen.column, seed)
            found = run(folder / "home", chosen.name, folder / "data", ["--budget", "5m"])
            steps = storage.read_json(found.run.folder / filenames.FINISH)
            tried = "; ".join(
                f"{step['step']} {step['before']:.4f} -> {step['after']:.4f}, {'kept' if step['kept'] else 'not kept'}"
                for step in steps
            )
            print(
                f"{chosen.name}, seed {seed}: {found.result.metric} {found.result.out_of_fold:.4f}, best constant "
                f"answer {constant(found):.4f}; {tried}",
                flush=True,
            )


if __name__ == "__main__":
    main()
