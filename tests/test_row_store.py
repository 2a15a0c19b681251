"""The row store and the index of contents."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kagglekit.base import parallel, storage
from kagglekit.heads import inference
from kagglekit.images import appearance
from kagglekit.images.row_store import SEGMENT_ROWS, RowStore
from kagglekit.images.scan import Index, Seen
from tests import drawing
from tests.conftest import Cli

ADDRESS = {"backbone": "a", "view": "plain"}


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")  # many end in zero bytes, which must not be lost


def row(number: int) -> np.ndarray:
    return np.full(5, number, np.float32)


def test_rows_come_back_in_the_order_asked_for_by_another_process(tmp_path: Path) -> None:
    store = RowStore(tmp_path, ADDRESS)
    count = SEGMENT_ROWS + 10
    for number in range(count):
        store.add(key(number), row(number))
    store.flush()
    wanted = np.random.default_rng(0).permutation(count)
    out = np.empty((count, 5), np.float32)
    RowStore(tmp_path, ADDRESS).gather([key(int(number)) for number in wanted], out)
    assert (out[:, 0] == wanted).all()


def test_other_addresses_hold_other_rows(tmp_path: Path) -> None:
    store = RowStore(tmp_path, ADDRESS)
    store.add(key(1), row(1))
    store.flush()
    assert key(1) in RowStore(tmp_path, ADDRESS)
    assert key(1) not in RowStore(tmp_path, ADDRESS | {"view": "mirror"})


def test_what_a_killed_command_left_half_written_is_not_seen(tmp_path: Path) -> None:
    store = RowStore(tmp_path, ADDRESS)
    store.add(key(1), row(1))
    store.flush()
    (ids,) = tmp_path.glob("*/*.ids.npy")
    ids.with_name(".x.ids.npy.partial").write_bytes(ids.read_bytes()[:70])  # killed while writing the ids
    np.save(ids.with_name("y.rows.npy"), np.zeros((4, 5)))  # killed between rows and ids
    out = np.empty((1, 5), np.float32)
    RowStore(tmp_path, ADDRESS).gather([key(1)], out)
    assert (out == 1).all()


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    first, second = RowStore(tmp_path, ADDRESS), RowStore(tmp_path, ADDRESS)
    for store, numbers in ((first, range(6)), (second, range(3, 9))):
        for number in numbers:
            store.add(key(number), row(number))
    first.flush()
    second.flush()
    out = np.empty((9, 5), np.float32)
    RowStore(tmp_path, ADDRESS).gather([key(number) for number in range(9)], out)
    assert (out[:, 0] == np.arange(9)).all()


def seen(file: Path, number: int) -> Seen:
    size, changed, touched = storage.full_stamp(file.stat())
    looks = appearance.look(np.full((3, 4, 3), number, np.uint8))
    stamped = {"size": size, "changed": changed, "touched": touched}
    return Seen(**vars(looks), **stamped, digest=key(number), pixels=12, format="JPEG")


def test_the_index_notices_that_a_file_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"one")
    index = Index(tmp_path)
    index.put(str(file), seen(file, 1))
    index.save()
    again = Index(tmp_path)
    assert again.get(str(file)) == seen(file, 1)
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert again.get(str(file)) is None
    assert again.get(str(tmp_path / "none.jpg")) is None


def test_two_commands_add_to_one_index(tmp_path: Path) -> None:
    indices = [Index(tmp_path) for _ in range(2)]
    for number, index in enumerate(indices):
        (tmp_path / f"{number}").write_bytes(b"x")
        index.put(str(tmp_path / f"{number}"), seen(tmp_path / f"{number}", number))
        index.save()
    merged = Index(tmp_path)
    assert [merged.get(str(tmp_path / f"{n}")) for n in range(2)] == [seen(tmp_path / f"{n}", n) for n in range(2)]


def test_two_commands_at_once_on_one_workspace_give_the_same_submission(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = drawing.dogs(tmp_path, train=40)
    command = [sys.executable, "-m", "kagglekit", "run", "dogs-vs-cats", "--data", str(archive), "--backbone", tiny]
    command.append("--no-report")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    runs = [run for run in (home / "dogs-vs-cats" / "runs").iterdir() if (run / "submission.csv").is_file()]
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / ".cache").symlink_to(home / ".cache")
    monkeypatch.setenv("KAGGLEKIT_HOME", str(alone))
    assert cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny).code == 0
    (expected,) = (alone / "dogs-vs-cats" / "runs").iterdir()
    for run in runs:
        assert (run / "submission.csv").read_bytes() == (expected / "submission.csv").read_bytes()


def test_a_gpu_that_is_not_there_is_an_error_and_never_claimed(cli: Cli, tiny: str, tmp_path: Path) -> None:
    from kagglekit.base import devices

    if devices.cuda_gpus():
        pytest.skip("this machine has a CUDA GPU")
    archive = drawing.dogs(tmp_path)
    done = cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--provider", "cuda")
    assert done.code == 1
    assert "no CUDA GPU found" in done.err
    done = cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny, "--provider", "auto")
    assert "computed on" in done.out
    assert "cuda" not in done.out.lower()


def test_the_mirrored_view_swaps_left_and_right() -> None:
    class Session:
        def run(self, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [inputs["images"].reshape(len(inputs["images"]), -1)]

    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for view, expected in (("plain", picture), ("mirror", np.fliplr(picture))):
        request = inference.Request(None, Session(), ("pooled",), view)  # type: ignore[arg-type]
        assert (request.run([picture])[0][0].reshape(2, 4, 3) == expected).all()


def test_work_is_done_in_order_and_only_a_little_ahead() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = parallel.overlapped(endless(), lambda number: number * 2, workers=3)
    assert [next(results) for _ in range(50)] == list(range(2, 102, 2))
    assert taken <= 50 + 2 * 3
    results.close()  # type: ignore[attr-defined]


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        list(parallel.overlapped([1, 0], lambda number: 1 / number, workers=2))
