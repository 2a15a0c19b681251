"""`kagglekit rehearse`: what is hidden stays hidden, the submission is graded as Kaggle would, and nothing is sent."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.model_selection import train_test_split

from kagglekit import Classes, Labels, Numbers
from kagglekit.base.workspace import Workspace
from kagglekit.data import benchmark_split, file_counts, hiding
from kagglekit.data.tables import Tables
from kagglekit.pipeline import honesty
from kagglekit.recipe import DataSettings
from kagglekit.runs import store
from kagglekit.runs.record import Result
from tests import drawing, finetuned, test_row_groups, test_runs_of_tasks, trainers
from tests.conftest import Cli, Done, failed, real_archive, succeeded
from tests.damage import Given
from tests.test_formats import competition as declared

QUICK = ("--set", "folds=2", "--set", "regularisation_grid=1", "--set", "method=features")
OF_TASKS = tuple(test_runs_of_tasks.DECLARED)


def rehearse(cli: Cli, plugin: Path, data: Path, spec: str, *words: str) -> Done:
    return cli("rehearse", plugin, "--data", data, "--backbone", spec, *QUICK, *words)


def task(kind: str, folder: Path) -> tuple[Path, Path]:
    """Draw a competition of a kind, of which MLE-bench hides a fifth; return its plugin and data."""
    plugin, data = folder / "task.py", folder / "data"
    test_runs_of_tasks.draw(data)
    text = test_runs_of_tasks.PLUGIN.format(*test_runs_of_tasks.DECLARED[kind])
    plugin.write_text(text.replace('flip="allowed"', 'flip="allowed", mle_bench=0.2'))
    columns, cell = test_runs_of_tasks.SAMPLES[kind]
    rows = [f"i{number},{cell}\n" for number in range(test_runs_of_tasks.COUNT, test_runs_of_tasks.COUNT + 6)]
    (data / "sample_submission.csv").write_text(f"id,{columns}\n{''.join(rows)}")
    return plugin, data


def found(home: Path, name: str = "task") -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((home / name / "rehearsal" / "rehearsal.json").read_text())
    return plain


def runs(home: Path, name: str = "task") -> list[store.Run]:
    return store.rehearsals(Workspace(home / name))


def answers(run: store.Run, data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what a rehearsal's run submitted, and the rows of the labels of the same images."""
    images = run.images("test").assign(name=lambda table: table["path"].map(lambda path: Path(path).stem))
    table = pd.read_csv(data / "train.csv", dtype={"tags": "str"}, keep_default_na=False).set_index("id")
    written = pd.read_csv(run.submission, dtype={"id": "str"}, keep_default_na=False).set_index("id")
    return written.loc[images["id"]], table.loc[images["name"]]


def flags(cells: pd.Series[str]) -> Any:
    return np.array([[name in cell.split() for name in ("red", "green", "blue")] for cell in cells])


def by_sklearn(kind: str, written: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Return the score of a submission, from nothing but it and the labels."""
    if kind == "grades":
        return float(metrics.cohen_kappa_score(truth["grade"], written["grade"], weights="quadratic"))
    if kind == "numbers":
        return float(metrics.root_mean_squared_error(truth["light"], written["light"]))
    if kind == "shares":
        errors = truth[["r", "g", "b"]].to_numpy() - written[["r", "g", "b"]].to_numpy()
        return float(np.sqrt((errors**2).mean()))
    wrong = flags(written["tags"]) != flags(truth["tags"])
    return float(-np.log(1e-15) * wrong.mean())  # sure labels, by log loss


@pytest.mark.parametrize("kind", OF_TASKS)
def test_the_score_is_that_of_the_file_on_disk(kind: str, cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    plugin, data = task(kind, tmp_path)
    said = succeeded(rehearse(cli, plugin, data, tiny, "--seeds", "2")).out
    first, second = (run.id for run in runs(home))
    rows = {row["run"]: row for row in found(home)["seeds"]}
    assert set(rows) == {first, second}
    hidden = []
    for run in runs(home):
        written, truth = answers(run, data)
        assert rows[run.id]["score"] == pytest.approx(by_sklearn(kind, written, truth), rel=1e-4)
        assert rows[run.id]["out_of_fold"] == run.finished().out_of_fold
        names = {Path(path).stem for path in run.images("train")["path"]}
        assert names | set(truth.index) == {f"i{number}" for number in range(test_runs_of_tasks.COUNT)}
        assert names.isdisjoint(truth.index), "what is hidden is not learnt from"
        hidden.append(set(truth.index))
    assert hidden[0] != hidden[1], "each seed hides others"
    assert "the expected interval covers" in said
    assert "machine: " in said
    assert "6 in the real test set" in said


@pytest.mark.parametrize("kind", OF_TASKS)
def test_hidden_labels_change_no_byte_of_the_submission(
    kind: str, cli: Cli, tiny: str, tmp_path: Path, home: Path
) -> None:
    plugin, data = task(kind, tmp_path)
    words = ("--split", "mle-bench", "--seeds", "1")
    succeeded(rehearse(cli, plugin, data, tiny, *words))
    (run,), (score,) = runs(home), [row["score"] for row in found(home)["seeds"]]
    before, folds = run.submission.read_bytes(), (run.folder / "folds.parquet").read_bytes()
    _, truth = answers(run, data)

    table = pd.read_csv(data / "train.csv", dtype="str", keep_default_na=False).set_index("id")
    order, hidden = table.columns, list(truth.index)
    table.loc[hidden] = table.loc[hidden[::-1]].to_numpy()
    table.reset_index()[["id", *order]].to_csv(data / "train.csv", index=False)
    shutil.rmtree(home / "task" / "rehearsal")
    succeeded(rehearse(cli, plugin, data, tiny, *words))
    (run,) = runs(home)
    assert run.submission.read_bytes() == before
    assert (run.folder / "folds.parquet").read_bytes() == folds
    assert found(home)["seeds"][0]["score"] != score


def test_rows_of_groups_are_hidden_and_graded_as_groups(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    plugin, data = tmp_path / "breasts.py", test_row_groups.draw(tmp_path / "data")
    plugin.write_text(test_row_groups.PLUGIN)
    succeeded(rehearse(cli, plugin, data, tiny, "--seeds", "2"))
    table = pd.read_csv(data / "train.csv", dtype="str").assign(row=lambda rows: rows["patient"] + "_" + rows["side"])
    rows = {row["run"]: row for row in found(home, "breasts")["seeds"]}
    for run in runs(home, "breasts"):
        images = run.images("test")
        own = table.set_index("image").loc[[Path(path).stem for path in images["path"]]]
        assert not set(own["patient"]) & set(run.images("train")["group"]), "whole patients are hidden"
        cancer = dict(zip(images["row"], own["cancer"].astype(int), strict=True))
        written = pd.read_csv(run.submission, dtype={"breast": "str"}).set_index("breast")["cancer"]
        assert set(written.index) == set(cancer)
        score = metrics.log_loss([cancer[name] for name in written.index], written)
        assert rows[run.id]["score"] == pytest.approx(score)
        assert rows[run.id]["hidden_rows"] == len(cancer) == rows[run.id]["hidden_images"] / 2


def test_a_killed_rehearsal_resumes_and_finished_seeds_stay(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    plugin, data = task("grades", tmp_path)
    succeeded(rehearse(cli, plugin, data, tiny, "--seeds", "1"))
    (first,) = runs(home)
    before = {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.parquet")}
    once = found(home)["seeds"]
    said = succeeded(rehearse(cli, plugin, data, tiny, "--seeds", "2")).out
    assert f"run {first.id} is already finished" in said
    assert "images are in the cache" in said
    assert {path: path.stat().st_mtime_ns for path in first.folder.rglob("*.parquet")} == before
    assert found(home)["seeds"][0] == once[0]
    assert len(found(home)["seeds"]) == 2


def test_fine_tuned_models_are_rehearsed_on_drivers_that_they_have_not_seen(
    cli: Cli, tiny_export: tuple[str, Path], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers.spare(monkeypatch)
    spec, cache = finetuned.small_export(tiny_export)
    shutil.copytree(cache, home / ".cache")
    archive = drawing.drivers(tmp_path, each=1, test=30)
    words = ["rehearse", *finetuned.command(archive, spec, name="state-farm")[1:]]
    words.remove("--no-report")
    words += [
        "--seeds",
        "1",
        *(word for one in ("models=1", "phases=all epochs=1", "folds=2") for word in ("--set", one)),
    ]
    assert "the expected interval covers" in succeeded(cli(*words)).out
    ((run,), (one,)) = runs(home, "state-farm"), found(home, "state-farm")["seeds"]
    assert one["hidden_images"] == 20, "two of six drivers"
    assert len(run.folds()) == 40
    assert run.finished().clusters == 4
    assert one["low"] < one["out_of_fold"] < one["high"]
    assert run.recipe.compute.budget == "30m"
    assert f"{run.id} is already finished" in succeeded(cli(*words)).out


def test_a_rehearsal_is_no_run_to_submit(cli: Cli, tiny: str, tmp_path: Path, home: Path, pets: Given) -> None:
    succeeded(rehearse(cli, pets.plugin, pets.data, tiny, "--seeds", "1"))
    (run,) = runs(home, "pets")
    assert "-rehearsal-" in run.id
    assert store.best_run(Workspace(home / "pets")) is None
    assert store.all_runs(Workspace(home / "pets")) == []
    for words in (("--run", run.id), (run.submission,)):
        assert "it can't be submitted" in failed(cli("submit", pets.plugin, *words, "--force"))
    assert "it can't be submitted" in failed(cli("bundle", run.id, tmp_path / "bundle"))
    assert run.id in succeeded(cli("info", run.id)).out, "it can be looked at"
    assert run.id not in succeeded(cli("runs", pets.plugin)).out


def test_what_can_not_be_rehearsed_is_refused(cli: Cli, tiny: str, pets: Given) -> None:
    assert "there is no data for dogs-vs-cats to hide a part of" in failed(cli("rehearse", "dogs-vs-cats"))
    words = ("--data", pets.data, "--backbone", tiny)
    assert "must be one of random, mle-bench" in failed(cli("rehearse", pets.plugin, *words, "--split", "half"))
    assert "declares no plain rule" in failed(cli("rehearse", pets.plugin, *words, "--split", "mle-bench"))


OF_PETS = re.compile(r"submission=\w+\(.*\),")
OWN = """
@hookimpl
def submission(competition, ids, probabilities, sample, decided):
    import pandas as pd

    return pd.DataFrame({"id": ids, "odds": [str(p / (1 - p)) for p in probabilities[:, 1]]})
"""


def test_an_own_format_is_graded_by_what_it_is_made_from(cli: Cli, tiny: str, home: Path, pets: Given) -> None:
    pets.plugin.write_text(
        "from kagglekit import OwnFormat\n" + OF_PETS.sub("submission=OwnFormat(),", pets.plugin.read_text()) + OWN
    )
    sample = pets.data / "sample_submission.csv"
    sample.write_text(sample.read_text().replace("label", "odds"))
    said = succeeded(rehearse(cli, pets.plugin, pets.data, tiny, "--seeds", "1")).out
    assert "only the plugin can read its submissions" in said
    (run,) = runs(home, "pets")
    odds = pd.read_csv(run.submission, dtype={"id": "str"}).set_index("id")["odds"]
    images = run.images("test").set_index("id")["path"]
    truth = [Path(path).parent.name == "dog" for path in images.loc[odds.index]]
    assert found(home, "pets")["seeds"][0]["score"] == pytest.approx(metrics.log_loss(truth, odds / (1 + odds)))


# --- what is hidden


def tables(labels: list[str], num_tests: int = 0, **columns: list[Any]) -> Tables:
    train = pd.DataFrame({"id": [f"t{n}" for n in range(len(labels))], "label": labels} | columns, dtype=object)
    train["path"] = train["id"] + ".png"
    test = pd.DataFrame({"id": [f"e{n}" for n in range(num_tests)]}, dtype="str").assign(path=lambda own: own["id"])
    counts = file_counts.FileCounts(("",), frozenset(train["path"]), {})
    nothing = pd.DataFrame(columns=["id", "reason"], dtype=str)
    return Tables(train=train, test=test, sample=None, requested=test, dropped=nothing, counts=counts)


def part(target: Any, given: Tables, seed: int = 0, **settings: Any) -> Any:
    from kagglekit import ProbabilityPerClass

    return hiding.random_part(declared(target, ProbabilityPerClass()), given, DataSettings(**settings), seed)


@pytest.mark.parametrize(("tests", "hidden"), [(0, 9), (18, 15), (45, 30), (500, 30)])
def test_the_share_of_the_real_test_set_is_hidden_within_limits(tests: int, hidden: int) -> None:
    labels = ["a", "b", "c"] * 30
    assert part(Classes(["a", "b", "c"]), tables(labels, tests)).sum() == hidden
    found = np.array(labels)[part(Classes(["a", "b", "c"]), tables(labels, tests))]
    assert np.ptp(np.unique(found, return_counts=True)[1]) <= 1, "stratified"


def test_no_class_and_no_label_loses_all_images() -> None:
    rare = tables(["a"] * 20 + ["b"] * 2 + ["c"], 20)
    for seed in range(5):
        left = rare.train["label"][~part(Classes(["a", "b", "c"]), rare, seed)]
        assert set(left) == {"a", "b", "c"}
    tags = tables(["x|y"] * 20 + ["x|z", ""], 20)
    for seed in range(5):
        assert "x|z" in set(tags.train["label"][~part(Labels(["x", "y", "z"]), tags, seed)])
    groups = tables(["a", "b"] * 10 + ["c", "a"], 20, group=[f"g{n // 2}" for n in range(22)])
    for seed in range(5):
        hidden = part(Classes(["a", "b", "c"]), groups, seed)
        assert not hidden[-2:].any(), "the whole group stays"
        assert hidden.any()


def test_each_seed_hides_other_groups_that_share_the_classes() -> None:
    """Drivers have as many images as they have, of each class: folds would be dealt in one way only."""
    random = np.random.default_rng(0)
    groups = np.repeat([f"driver {n}" for n in range(12)], random.integers(20, 60, 12))
    given = tables(random.choice(["a", "b", "c"], len(groups)).tolist(), len(groups) // 3, group=groups.tolist())
    hidden = [frozenset(groups[part(Classes(["a", "b", "c"]), given, seed)]) for seed in range(10)]
    assert len(set(hidden)) > 5
    assert all(2 <= len(names) <= 4 for names in hidden), "a quarter of the images"
    assert len({name for names in hidden for name in names}) > 9, "any may be hidden"
    patients = tables(["sick" if n < 4 else "well" for n in range(40)], 14, group=[f"p{n // 2}" for n in range(40)])
    for seed in range(10):
        found = patients.train["label"][part(Classes(["sick", "well"]), patients, seed)]
        assert set(found) == {"sick", "well"}, "a score needs both"


def test_of_a_validation_set_of_its_own_only_that_is_hidden() -> None:
    given = tables(["a", "b"] * 20, 40, valid=[n >= 20 for n in range(40)])
    hidden = part(Classes(["a", "b"]), given, validation="valid")
    assert not hidden[:20].any()
    assert 5 <= hidden[20:].sum() <= 8
    assert part(Classes(["a", "b"]), given)[:20].any(), "otherwise it is like all others"


def test_numbers_are_in_units_of_those_that_are_left() -> None:
    from kagglekit import Values

    given = tables([f"{n}|{100 * n}" for n in range(20)])
    described = declared(Numbers(["u", "v"], means=[1.0, 2.0], scales=[3.0, 4.0]), Values())
    mask = np.arange(20) >= 10
    hidden = hiding.hide(described, given, mask, 0)
    assert hidden.competition.target.means == pytest.approx([4.5, 450])
    assert sorted(hidden.truth["was"]) == sorted(given.train["id"][mask])
    assert "label" not in hidden.tables.test
    assert not set(hidden.tables.train["id"]) & set(hidden.truth["was"])


@pytest.mark.real
def test_mle_bench_hides_the_same_cats_and_dogs(cli: Cli, tiny: str, home: Path) -> None:
    archive = real_archive("dogs-vs-cats-redux-kernels-edition")
    succeeded(cli("rehearse", "dogs-vs-cats", "--data", archive, "--backbone", tiny, *QUICK, "--seeds", "1",
                  "--split", "mle-bench"))  # fmt: skip
    (run,) = runs(home, "dogs-vs-cats")
    both = pd.concat([run.images("train"), run.images("test")])
    _, hidden = train_test_split(sorted(map(Path, both["path"])), test_size=0.1, random_state=0)
    assert set(map(Path, run.images("test")["path"])) == set(hidden)
    assert len(hidden) == 120


def test_mle_bench_takes_the_rows_of_a_table_in_their_order(tmp_path: Path) -> None:
    from kagglekit import ClassLabel, Competition, CsvLabels
    from kagglekit.competitions.datafiles import DataFiles

    names = [f"x{n}" for n in np.random.default_rng(0).permutation(50)]
    (tmp_path / "train.csv").write_text("image,label\n" + "".join(f"{name}.png,a\n" for name in names))
    described = Competition(
        name="leaf", kaggle="", classes={"a": "A", "b": "B"}, test="test/{id}.png", mle_bench=0.1,
        train=CsvLabels("train.csv", "train/{id}.png", id="image", label="label"), submission=ClassLabel(),
    )  # fmt: skip
    train = pd.DataFrame({"id": sorted(names), "path": [f"/d/train/{name}.png" for name in sorted(names)]})
    files = DataFiles({"train.csv": tmp_path / "train.csv"}, tmp_path)
    hidden = train["id"][benchmark_split.benchmark_part(described, files, train)]
    assert set(hidden) == set(train_test_split(names, test_size=0.1, random_state=0)[1])


# --- the numbers


def estimate(score: float, error: float | None, clusters: int, *, lower_is_better: bool = True) -> Result:
    return Result(
        metric="log loss",
        lower_is_better=lower_is_better,
        out_of_fold=score,
        standard_error=error,
        before_finish=score,
        clusters=clusters,
        scored_images=clusters,
        validation="folds",
    )


def test_the_expected_interval_covers_scores_of_other_rows_as_often_as_it_says() -> None:
    random, covered = np.random.default_rng(0), []
    for _ in range(2000):
        rows, other = random.exponential(1, 300), random.exponential(1, 100)
        of_rows = estimate(rows.mean(), rows.std(ddof=1) / 300**0.5, 300)
        low, high = honesty.expected(of_rows, 100, named=True) or (0, 0)
        covered.append(low <= other.mean() <= high)
    assert 0.93 < np.mean(covered) < 0.965
    assert honesty.expected(estimate(1, None, 1), 10, named=True) is None
    few, many = (honesty.expected(estimate(0, 1, count), count, named=False) or (0, 0) for count in (3, 300))
    assert few[1] > 2 * many[1], "few groups say little of their spread"


@pytest.mark.parametrize(("groups", "others"), [(12, 3), (9, 4), (4, 3), (26, 8)])
@pytest.mark.parametrize(("spread", "least"), [(0.0, 0.94), (0.5, 0.94), (1.0, 0.93)], ids=["normal", "skewed", "very"])
def test_few_groups_are_covered_even_where_their_losses_are_skewed(
    groups: int, others: int, spread: float, least: float
) -> None:
    """Losses of groups are normal, or lognormal."""
    random, covered = np.random.default_rng(0), []
    for _ in range(4000):
        drawn = random.normal(0, 1, groups + others)
        losses = np.exp(spread * drawn) if spread else 10 + drawn
        ours, theirs = losses[:groups], losses[groups:]
        made = estimate(ours.mean(), ours.std(ddof=1) / groups**0.5, groups)
        low, high = honesty.expected(made, others, named=True) or (0, 0)
        covered.append(low <= theirs.mean() <= high)
    assert np.mean(covered) >= least


def test_the_interval_reaches_further_to_the_worse_side() -> None:
    low, high = honesty.expected(estimate(0.5, 0.1, 12), 3, named=True) or (0, 0)
    assert low == pytest.approx(0.5 - 0.22009852 * 5**0.5, abs=1e-6)
    assert high == pytest.approx(0.5 + 0.22009852 * 5**0.5 + 0.22009852**2 * 5)
    mirrored = honesty.expected(estimate(0.5, 0.1, 12, lower_is_better=False), 3, named=True)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    unknown = honesty.expected(estimate(0.5, 0.1, 12), 3, named=False) or (0, 0)
    assert sum(unknown) == pytest.approx(1.0), "of a function nobody knows"


def test_no_better_score_is_expected_than_there_is() -> None:
    low, high = honesty.expected(estimate(0.01, 0.1, 50), 50, named=True) or (1, 1)
    assert low == 0 < high
    low, high = honesty.expected(estimate(0.99, 0.1, 50, lower_is_better=False), 50, named=True) or (1, 1)
    assert low < 0.99 < high == 1
    assert (honesty.expected(estimate(0.01, 0.1, 50), 50, named=False) or (1, 1))[0] < 0, "of a function nobody knows"


def test_the_mean_difference_of_splits_that_share_images() -> None:
    mean, low, high = honesty.mean_interval([0.1, 0.2, 0.3], 0.25)
    assert mean == pytest.approx(0.2)
    assert (high - mean) == pytest.approx(mean - low) == pytest.approx(4.302653 * 0.1 * (1 / 3 + 0.25) ** 0.5)
    assert honesty.together([0.1, 0.3], [0.1, 0.1]) == pytest.approx((0.2, 0.2 - 0.1959964, 0.2 + 0.1959964))
