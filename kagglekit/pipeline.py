"""One run, as a straight line: from a name to a validated submission.

N training images, M test images, V views, D features, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kagglekit import data, metrics, plugins, recipe, runs, storage, submissions, summary
from kagglekit.competition import Competition
from kagglekit.console import Console
from kagglekit.engines import backbones, devices, features, finish, folds, heads
from kagglekit.errors import UserError
from kagglekit.recipe import Recipe
from kagglekit.workspace import Workspace

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """What the data holds: training and test images, and the sample submission where there is one."""

    train: pd.DataFrame
    test: pd.DataFrame
    sample: pd.DataFrame | None
    asked: pd.DataFrame
    """The test images that the submission asks for, and, with a sample, of those only some."""


@dataclass(frozen=True)
class Predictions:
    """Probabilities by id, before finishing."""

    train: pd.DataFrame
    """The readable training images, with `fold`."""
    oof: Floats
    """Out-of-fold probabilities of the scored training images, (N, C)."""
    test: Floats
    """Probabilities of the rows of `Tables.asked`, (M, C)."""


def run(name: str, data_path: Path | None, settings: Mapping[str, Any], console: Console) -> runs.Run:
    """Take a competition from its data to a submission; return the run.

    `settings` are those of the command line. A run that is finished already is shown again.
    """
    started = time.perf_counter()
    plugin = plugins.load(name)
    competition = plugin.competition()
    workspace = Workspace.of(competition.name)
    chosen = recipe.resolve(plugin.recipe(), plugin.name, workspace.recipe_file, settings)
    console.say(f"{competition.name}: {competition.url}")
    files = data.find(competition, data_path, workspace, console)
    tables = read_tables(plugin, competition, files, chosen, console)
    unpacked = time.perf_counter() - started
    used = prepare_backbones(chosen, console)
    exported = time.perf_counter() - started - unpacked
    this = runs.open_run(workspace, _key(competition, chosen, used, tables))
    this.seconds |= {"data": unpacked, "backbones": exported}
    finished = this.finished()
    if finished is None:
        console.log_to(this.folder / "log.txt")
        _record(this, competition, chosen, used, tables)
        predictions = predict_features(this, competition, chosen, used, tables, workspace, console)
        finished = conclude(this, plugin, competition, chosen, tables, predictions, console)
    else:
        console.say(f"run {this.id} is finished already, nothing has changed since")
    summary.show(this, competition, finished, console)
    console.close()
    return this


def read_tables(
    plugin: plugins.Plugin, competition: Competition, files: data.DataFiles, chosen: Recipe, console: Console
) -> Tables:
    """Read both tables and the sample submission, and say what was found."""
    train = plugin.train_table(competition, files)
    test = plugin.test_table(competition, files)
    sample = submissions.read_sample(competition, files)
    groups = f", {train['group'].nunique()} groups" if "group" in train else ""
    console.say(
        f"{files.origin}: {len(train)} training images of {len(competition.classes)} classes{groups}, "
        f"{len(test)} test images{'' if sample is None else f', {len(sample)} rows asked for'}"
    )
    asked = test
    if sample is not None:
        wanted = set(sample[competition.submission.id])
        written = [submissions.written_id(competition, test_id) for test_id in test["id"]]
        asked = test[[test_id in wanted for test_id in written]].reset_index(drop=True)
        _check_ids(competition, len(wanted), len(asked), len(test), sample, console)
    return Tables(
        folds.sample(train, chosen.sample, chosen.seed), test, sample, folds.sample(asked, chosen.sample, chosen.seed)
    )


def _check_ids(
    competition: Competition, wanted: int, found: int, images: int, sample: pd.DataFrame, console: Console
) -> None:
    if found * 2 < wanted:
        example = sample[competition.submission.id].iloc[0]
        raise UserError(
            f"the sample submission asks for {wanted} ids such as {example!r}, and only {found} of them have a test "
            "image: is the data complete, and does the plugin's test pattern (or id_format) give such ids?"
        )
    if found < wanted:
        console.warn(f"{wanted - found} ids of the sample submission have no test image: their rows get the class prior")
    if found < images:
        console.say(f"{images - found} test images are not in the sample submission: they get no row")


def prepare_backbones(chosen: Recipe, console: Console) -> list[backbones.Backbone]:
    """Choose by device where the recipe says auto, and return backbones that are ready to run."""
    device = devices.choose(chosen.provider)
    specs = chosen.backbone
    if specs == ("auto",):
        specs, reason = backbones.default(device)
        console.say(f"backbone {', '.join(specs)} on {device}: {reason}")
    ready = [backbones.resolve(spec, chosen, console.say) for spec in specs]
    for backbone in ready:
        console.say(
            f"weights of {backbone.name}: {backbone.source}, licence {backbone.licence}, "
            f"sha256 {backbone.sha256[:12]}, {backbone.parameters / 1e6:.1f} M parameters"
        )
    return ready


def _key(
    competition: Competition, chosen: Recipe, used: list[backbones.Backbone], tables: Tables
) -> dict[str, Any]:
    """Everything that a run's results are made from."""
    return {
        "competition": competition.describe(),
        "recipe": chosen.as_dict(),
        "backbones": [backbone.record() for backbone in used],
        "train": _fingerprint(tables.train),
        "test": _fingerprint(tables.asked),
        "asked": None if tables.sample is None else storage.digest(tables.sample.to_csv(index=False)),
        "device": devices.choose(chosen.provider),
        "kagglekit": runs.version("kagglekit"),
    }


def _fingerprint(table: pd.DataFrame) -> str:
    """Return a digest of a table and of its files' sizes and times."""
    stamps = [storage.stamp(Path(path)) if Path(path).exists() else None for path in table["path"]]
    return storage.digest([table.drop(columns="path").to_csv(index=False), stamps], 32)


def _record(
    this: runs.Run, competition: Competition, chosen: Recipe, used: list[backbones.Backbone], tables: Tables
) -> None:
    """Write what the run is made from, before it is made."""
    storage.write_text(this.folder / "recipe.toml", recipe.to_toml(chosen))
    record = {
        "competition": competition.describe(),
        "backbones": [backbone.record() for backbone in used],
        "train_images": len(tables.train),
        "test_images": len(tables.asked),
        "seed": chosen.seed,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    storage.write_json(this.folder / "run.json", record | runs.environment())


def predict_features(
    this: runs.Run,
    competition: Competition,
    chosen: Recipe,
    used: list[backbones.Backbone],
    tables: Tables,
    workspace: Workspace,
    console: Console,
) -> Predictions:
    """Frozen features, then a head a fold and one on all training rows."""
    views, view_classes = usable_views(competition, chosen, console)
    with this.stage("features"):
        engine = features.FeatureEngine(used, views, chosen, workspace.features)
        every = engine.compute([*tables.train["path"], *tables.asked["path"]], console)
    storage.write_json(this.folder / "provider.json", {"asked": chosen.provider, "used": every.device})
    ids = [*tables.train["id"], *tables.asked["id"]]
    quarantine(this, ids, tables, every.unreadable, console)
    readable = np.array([place not in every.unreadable for place in range(len(ids))])
    count = len(tables.train)
    train = tables.train[readable[:count]].reset_index(drop=True)
    with this.stage("folds"):
        fold = folds.assign(train, chosen)
        train["fold"] = fold
        this.write_frame("folds.parquet", train[["id", "fold"]])
    training = heads.Training(
        every.rows[:count][readable[:count]],
        np.array([competition.labels.index(label) for label in train["label"]], dtype=np.int64),
        train["group"].to_numpy(dtype=object) if "group" in train else None,
        view_classes,
    )
    with this.stage("heads"):
        oof, fitted = fit_heads(training, fold, chosen, console)
    save_heads(this, fitted)
    with this.stage("predict"):
        prior = np.bincount(training.labels, minlength=len(competition.labels)) / len(training.labels)
        test = np.tile(prior, (len(tables.asked), 1))
        here = readable[count:]
        if here.any():
            test[here] = heads.predict(fitted["all"], every.rows[count:][here], view_classes)
    return Predictions(train, oof, test)


def usable_views(
    competition: Competition, chosen: Recipe, console: Console
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    """Return the views that the flip rule allows, and for each the class that every class shows in it, (V, C)."""
    mirror = competition.mirror_classes
    same = tuple(range(len(competition.labels)))
    maps = {"plain": same} if mirror is None else {"plain": same, "mirror": mirror}
    views = tuple(view for view in chosen.views if view in maps)
    if not views:
        raise UserError("views = ['mirror']: this competition forbids flips; use --set views=plain.")
    if len(views) < len(chosen.views):
        console.say("view mirror is left out: this competition forbids flips")
    return views, tuple(maps[view] for view in views)


def quarantine(
    this: runs.Run, ids: list[str], tables: Tables, unreadable: Mapping[int, str], console: Console
) -> None:
    """Write the list of unreadable images, and say loudly what becomes of them."""
    if not unreadable:
        return
    count = len(tables.train)
    paths = [*tables.train["path"], *tables.asked["path"]]
    rows = [
        ("train" if place < count else "test", ids[place], paths[place], reason)
        for place, reason in sorted(unreadable.items())
    ]
    with storage.replacing(this.folder / "quarantine.csv") as temporary:
        pd.DataFrame(rows, columns=["part", "id", "path", "reason"]).to_csv(temporary, index=False)
    if all(part == "train" for part, *_ in rows) and len(rows) == count:
        raise UserError(f"no training image can be read, such as {paths[0]}: {rows[0][3]}.")
    for part, fate in (("train", "left out of training"), ("test", "their rows get the class prior")):
        bad = [row for row in rows if row[0] == part]
        if bad:
            console.warn(
                f"{len(bad)} {part} images can't be read, such as {bad[0][1]} ({bad[0][3]}): {fate}; "
                f"all are in {this.folder / 'quarantine.csv'}"
            )


def fit_heads(
    training: heads.Training, fold: folds.Fold, chosen: Recipe, console: Console
) -> tuple[Floats, dict[str, heads.Head]]:
    """Return out-of-fold probabilities of the scored images (N, C), and the heads by name, `all` the last."""
    everything = np.full((len(fold), len(training.view_classes[0])), np.nan)
    fitted: dict[str, heads.Head] = {}
    scoring = folds.scored(fold)
    with console.progress("heads", len(scoring) + 1, "heads") as advance:
        for part in scoring:
            head = heads.fit(training.take(fold != part), chosen)
            everything[fold == part] = heads.predict(head, training.rows[fold == part], training.view_classes)
            fitted[f"fold{part}"] = head
            advance(1)
        fitted["all"] = heads.fit(training, chosen)
        advance(1)
    console.say(f"heads: {chosen.head}, " + ", ".join(f"{name} {head.chosen}" for name, head in fitted.items()))
    return everything[fold != folds.TRAIN_ONLY], fitted


def save_heads(this: runs.Run, fitted: Mapping[str, heads.Head]) -> None:
    """Save all heads as arrays."""
    from safetensors.numpy import save_file

    arrays = {
        f"{name}.{key}": np.ascontiguousarray(array) for name, head in fitted.items() for key, array in head.arrays().items()
    }
    with storage.replacing(this.folder / "heads.safetensors") as temporary:
        save_file(arrays, temporary, metadata={name: head.chosen for name, head in fitted.items()})


def conclude(
    this: runs.Run,
    plugin: plugins.Plugin,
    competition: Competition,
    chosen: Recipe,
    tables: Tables,
    predictions: Predictions,
    console: Console,
) -> dict[str, Any]:
    """Finish, write and check the submission, and write the closing numbers."""
    with this.stage("finish"):
        scored, oof, gates = _finish(competition, chosen, predictions, console)
        test = finish.apply_kept(predictions.test, gates)
    train = predictions.train[predictions.train["fold"] != folds.TRAIN_ONLY]
    this.write_probabilities(
        "oof.parquet", train["id"].tolist(), oof, competition.labels, label=train["label"].tolist(), fold=train["fold"].tolist()
    )
    this.write_probabilities("test.parquet", tables.asked["id"].tolist(), test, competition.labels)
    with this.stage("submission"):
        prior = finish.apply_kept(_prior(competition, predictions.train), gates)
        write_submission(this, plugin, competition, tables, test, prior, console)
    metric = metrics.resolve(competition.metric)
    result = {
        "metric": metric.name,
        "lower_is_better": metric.lower_is_better,
        "out_of_fold": metric.score(scored.truth, oof),
        "standard_error": finish.standard_error(scored, oof, metric, chosen.seed),
        "accuracy": float(metrics.correct_rows(scored.truth, oof).mean()),
        "before_finish": metric.score(scored.truth, scored.probabilities),
        "finish": [gate.as_dict() for gate in gates],
        "clusters": len(np.unique(scored.clusters)),
        "scored_images": len(scored.truth),
        "validation": chosen.validation,
        "sample": chosen.sample,
        "backbones": [b["name"] for b in storage.read_json(this.folder / "run.json")["backbones"]],
        "device": storage.read_json(this.folder / "provider.json")["used"],
        "seconds": this.seconds,
        "submission_sha256": storage.file_sha256(this.submission),
    }
    storage.write_json(this.folder / "result.json", result)
    return result


def _finish(
    competition: Competition, chosen: Recipe, predictions: Predictions, console: Console
) -> tuple[finish.Scored, Floats, list[finish.Gate]]:
    train = predictions.train[predictions.train["fold"] != folds.TRAIN_ONLY]
    clusters = train["group"] if "group" in train else train["id"]
    scored = finish.Scored(
        np.array([competition.labels.index(label) for label in train["label"]], dtype=np.int64),
        predictions.oof,
        pd.factorize(clusters)[0].astype(np.int64),
        train["fold"].to_numpy(),
    )
    metric = metrics.resolve(competition.metric)
    oof, gates = finish.finish(scored, chosen.finish, metric, chosen.seed)
    for gate in gates:
        console.say(
            f"finish: {gate.step} {gate.value:g}: out-of-fold {gate.before:.5f} -> {gate.after:.5f}, gain "
            f"{gate.gain:.5f}, at least {gate.low:.5f}: {'kept' if gate.kept else 'not kept'}"
        )
    return scored, oof, gates


def _prior(competition: Competition, train: pd.DataFrame) -> Floats:
    """Return the classes' shares in training, (1, C)."""
    counts = train["label"].value_counts()
    shares = np.array([counts.get(label, 0) for label in competition.labels], dtype=np.float64)
    return shares[None] / shares.sum()


def write_submission(
    this: runs.Run,
    plugin: plugins.Plugin,
    competition: Competition,
    tables: Tables,
    test: Floats,
    prior: Floats,
    console: Console,
) -> None:
    """Lay out, check and write the submission: every id that is asked for has one row."""
    predicted = {
        submissions.written_id(competition, test_id): row for test_id, row in zip(tables.asked["id"], test, strict=True)
    }
    ids = submissions.expected_ids(competition, tables.test["id"].tolist(), tables.sample)
    rows = np.stack([predicted.get(row_id, prior[0]) for row_id in ids])
    if len(predicted) < len(ids):
        console.warn(f"{len(ids) - len(predicted)} of {len(ids)} rows hold the class prior: they were not predicted")
    frame = plugin.submission(competition, ids, rows, tables.sample)
    submissions.check(frame, competition, ids)
    submissions.write(frame, this.submission)
