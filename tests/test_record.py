"""What the files of a run's folder hold, as types: nothing is lost, and older and newer versions' files are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kagglekit.base import storage
from kagglekit.base.errors import UserError
from kagglekit.base.plain import Plain, left_out
from kagglekit.base.workspace import Workspace
from kagglekit.kaggle import ledger
from kagglekit.runs import filenames, store
from kagglekit.runs.choices import Decision
from kagglekit.runs.record import Alone, FinishingStep, Manifest, Provider, Record, Result
from kagglekit.runs.store import Run
from tests import old_run


@dataclass(frozen=True, kw_only=True)
class Leaf(Plain):
    name: str
    width: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plant(Plain):
    leaves: tuple[Leaf, ...]
    by_month: Mapping[str, Leaf] = field(default_factory=dict)
    first: Leaf | None = None
    colours: tuple[str, ...] | None = left_out()


PLANT: dict[str, Any] = {
    "leaves": [{"name": "ash", "width": 1.5}, {"name": "elm", "width": None, "veins": [1, 2]}],
    "by_month": {"May": {"name": "oak", "width": 2.0}},
    "first": {"name": "first", "width": None},
    "colours": ["green"],
    "soil": {"sand": 0.5},
}


def test_what_is_read_and_written_again_is_the_same_and_in_the_same_order() -> None:
    plant = Plant.from_plain(PLANT)
    assert plant.leaves[1].name == "elm"
    assert plant.by_month["May"].width == 2
    assert plant.colours == ("green",)
    assert json.dumps(plant.to_plain()) == json.dumps(PLANT)


def test_keys_of_newer_versions_are_kept_at_every_depth() -> None:
    plant = Plant.from_plain(PLANT)
    assert plant.unknown == {"soil": {"sand": 0.5}}
    assert plant.leaves[1].unknown == {"veins": [1, 2]}


def test_keys_that_older_versions_did_not_write_have_defaults() -> None:
    plant = Plant.from_plain({"leaves": []})
    assert (plant.by_month, plant.first, plant.colours) == ({}, None, None)
    assert plant.to_plain() == {"leaves": [], "by_month": {}, "first": None}


def test_keys_that_must_be_there_are_named() -> None:
    with pytest.raises(ValueError, match="it lacks leaves"):
        Plant.from_plain({"first": None})


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / filenames.RESULT).write_text('{"metric": "log loss"}')
    with pytest.raises(UserError, match=r"result\.json is damaged \(it lacks lower_is_better, out_of_fold, "):
        _ = Run(tmp_path).result


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        _ = Run(tmp_path).record
    with pytest.raises(UserError, match="is not finished: rerun its command"):
        Run(tmp_path).finished()
    assert (Run(tmp_path).sent, Run(tmp_path).alone, Run(tmp_path).provider) == (None, None, None)
    assert (Run(tmp_path).finishing, Run(tmp_path).providers) == ((), [])


KINDS: dict[str, type[Plain]] = {
    filenames.RECORD: Record,
    filenames.RESULT: Result,
    filenames.ALONE: Alone,
    filenames.PROVIDER: Provider,
}


@pytest.mark.parametrize("run", old_run.runs(), ids=lambda run: run.name)
def test_files_of_an_older_version_are_written_again_byte_for_byte(run: Path, tmp_path: Path) -> None:
    kinds = {run / name: kind for name, kind in KINDS.items()}
    kinds |= dict.fromkeys(run.glob(f"{filenames.STAGES}/*.json"), Manifest)
    kinds |= dict.fromkeys(run.glob(f"{filenames.MODELS}/*/{filenames.PROVIDER}"), Provider)
    for path, kind in kinds.items():
        storage.write_json(tmp_path / "again.json", kind.from_plain(storage.read_json(path)).to_plain())
        assert (tmp_path / "again.json").read_bytes() == path.read_bytes(), path
    steps = [FinishingStep.from_plain(step) for step in storage.read_json(run / filenames.FINISH)]
    storage.write_json(tmp_path / "again.json", [step.to_plain() for step in steps])
    assert (tmp_path / "again.json").read_bytes() == (run / filenames.FINISH).read_bytes()


def test_a_record_without_what_came_later_is_read() -> None:
    plain = storage.read_json(old_run.runs()[0] / filenames.RECORD)
    for late in ("leaderboard", "bundle", "dropped", "gone_on"):
        del plain[late]
    del plain["backbones"][0]["pixels"]
    record = Record.from_plain(plain)
    assert (record.leaderboard, record.own_hooks, record.dropped, record.gone_on) == ({}, (), 0, 0)
    assert record.backbones[0].pixels is None


def test_the_ledger_keeps_what_a_newer_version_wrote(tmp_path: Path) -> None:
    written = [{"reference": 1, "status": "COMPLETE", "team": "newer"}]
    storage.write_json(tmp_path / ledger.FILE, written)
    ledger.Ledger(Workspace(tmp_path)).save()
    (row,) = storage.read_json(tmp_path / ledger.FILE)
    assert row.items() >= written[0].items()
    assert "unknown" not in row


def decision(why: str) -> Decision:
    return Decision(
        device="cpu", backbones=("a",), reason="", settings={"folds": 5}, why=why, batch_size=8, when="2026-01-01 00:00"
    )


def test_what_is_decided_first_stays_until_it_is_forgotten(tmp_path: Path) -> None:
    workspace, key = Workspace(tmp_path), {"a": 1}
    assert store.decide(workspace, key, lambda: decision("first")).why == "first"
    assert store.decide(workspace, key, lambda: decision("second")) == decision("first")
    store.forget(workspace, key)
    assert store.decide(workspace, key, lambda: decision("third")).why == "third"


def made(workspace: Workspace, name: str, **changes: Any) -> Run:
    """Write the files by which runs are found and ranked."""
    plain = storage.read_json(old_run.runs()[0] / filenames.RESULT) | changes
    run = Run(workspace.runs / name)
    storage.write_json(run.folder / filenames.RECORD, {})
    storage.write_json(run.folder / filenames.RESULT, plain)
    return run


def test_the_best_run_is_a_whole_real_one_the_oldest_of_equals(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert store.best_run(workspace) is None
    made(workspace, "20260101-0000-00000001", out_of_fold=0.5)
    best = made(workspace, "20260101-0000-00000002", out_of_fold=0.25)
    made(workspace, "20260101-0000-00000003", out_of_fold=0.25)
    made(workspace, "20260101-0000-00000004", out_of_fold=0.1, sample=100)
    made(workspace.synthetic, "20260101-0000-synthetic-00000005", out_of_fold=0.1)
    storage.write_json(workspace.runs / "20260101-0000-00000006" / filenames.RECORD, {})  # not finished
    assert store.best_run(workspace) == best
    highest = made(workspace, "20260101-0000-00000007", metric="accuracy", lower_is_better=False, out_of_fold=0.9)
    made(workspace, "20260101-0000-00000008", metric="accuracy", lower_is_better=False, out_of_fold=0.8)
    assert store.best_run(workspace, lambda _, result: result.metric == "accuracy") == highest
    assert store.best_run(workspace) == highest, "the metric of the newest counts: others can't be compared with it"
