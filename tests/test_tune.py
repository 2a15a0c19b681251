"""`kagglekit tune`: studies resume and are shared, nothing wrong is searched, and what it promises holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit import metrics
from kagglekit.base.errors import UserError
from kagglekit.data.project import Project
from kagglekit.pipeline import deciding, gates
from kagglekit.pipeline.methods import table
from kagglekit.tuning import nested, study, trials
from kagglekit.tuning import space as spaces
from kagglekit.tuning.space import Choices, Range
from kagglekit.tuning.study import Study
from tests import test_runs_of_tasks
from tests.conftest import Cli, Done, failed, succeeded
from tests.test_noise import CASES, drawn

QUICK = ("--set", "folds=3", "--set", "regularisation_grid=1", "--set", "method=features")
SEARCH = ("--search", "output=pooled,logits", "--search", "feature_views=plain,plain+mirror")
HOOK = "\n@hookimpl\ndef search_space(space):\n    return {}\n"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return declared("numbers", tmp_path)


def declared(kind: str, folder: Path, more: str = "") -> Path:
    """Draw a competition of a kind; return its plugin, beside its data."""
    test_runs_of_tasks.draw(folder / "data")
    columns, cell = test_runs_of_tasks.SAMPLES[kind]
    first, last = test_runs_of_tasks.COUNT, test_runs_of_tasks.COUNT + test_runs_of_tasks.TESTED
    rows = "".join(f"i{number},{cell}\n" for number in range(first, last))
    (folder / "data" / "sample_submission.csv").write_text(f"id,{columns}\n{rows}")
    path = folder / "task.py"
    path.write_text(test_runs_of_tasks.PLUGIN.format(*test_runs_of_tasks.DECLARED[kind]) + more)
    return path


def words(plugin: Path, spec: str, *more: str, quick: tuple[str, ...] = QUICK) -> tuple[str, ...]:
    return ("tune", str(plugin), "--data", str(plugin.parent / "data"), "--backbone", spec, *quick, *more)


def tune(cli: Cli, plugin: Path, spec: str, *more: str) -> Done:
    return succeeded(cli(*words(plugin, spec, *more)))


def outcome(home: Path) -> tuple[dict[str, Any], Path]:
    """Return the newest study's record, and its folder."""
    path = max((home / "task" / "tune").glob("*/tune.json"), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(path.read_text()), path.parent


# --- what can't be searched is said at once


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (["balanse=0,1"], "--search: no setting called 'balanse': did you mean 'balance'?"),
        (["head=mpl"], "setting head = 'mpl': must be one of auto, logistic, mlp"),
        (["head"], "write it as --search learning_rate=1e-4..1e-2"),
        (["mlp_dropout=0.5..0.1"], "a range goes from a smaller number to a larger one"),
        (["mlp_dropout=0.1..7"], "setting mlp_dropout = 7.0: it must be at least 0 and below 1"),
        (["mlp_width=1..many"], "must be an integer"),
        (["seed=0,1,2"], "seed can't be searched"),
        (["budget=5m,10m"], "budget can't be searched"),
        (["head=mlp,logistic", "head=mlp"], "--search head is given twice"),
        (["head=nearest,mlp"], "head = 'nearest' compares classes"),
        (["regularisation_grid=1,1+3"], "regularisation_grid is both set and searched"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_search_that_can_t_be_is_refused_before_data_is_read(
    search: list[str], said: str, cli: Cli, tiny: str, plugin: Path, home: Path
) -> None:
    line = failed(cli(*words(plugin, tiny, *(word for text in search for word in ("--search", text)))))
    assert said in line
    assert not (home / "task").exists()


def test_a_recipe_of_one_s_own_is_never_overwritten(cli: Cli, tiny: str, plugin: Path, home: Path) -> None:
    (home / "task").mkdir()
    (home / "task" / "recipe.toml").write_text('output = "pooled"\n')
    assert "stays as it is" in failed(cli(*words(plugin, tiny, *SEARCH, "--write")))
    assert (home / "task" / "recipe.toml").read_text() == 'output = "pooled"\n'


def test_tuning_needs_data(cli: Cli, tiny: str, plugin: Path) -> None:
    assert "name the archive or folder with --data PATH" in failed(cli("tune", plugin, "--backbone", tiny))


# --- a study


@pytest.mark.parametrize("kind", test_runs_of_tasks.DECLARED)
def test_a_study_of_every_task_goes_on_where_it_was(kind: str, cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    plugin = declared(kind, tmp_path)
    said = tune(cli, plugin, tiny, *SEARCH[:2], "--trials", "1").out
    first, folder = outcome(home)
    assert [trial["state"] for trial in first["trials"]] == ["complete"]
    assert "trial 0: " in said
    assert "the default settings run first" in said
    assert next((home / "task" / "runs").glob("*/log.txt")).stat().st_size
    assert "nested gain over the default settings" in said

    again = tune(cli, plugin, tiny, *SEARCH[:2], "--trials", "1").out
    assert "trial 0: " not in again
    assert "the default settings run first" not in again
    assert outcome(home)[0] == first

    said = tune(cli, plugin, tiny, *SEARCH[:2], "--trials", "9").out
    assert "every combination has been tried" in said
    found, same = outcome(home)
    assert same == folder
    assert len({json.dumps(trial["settings"]) for trial in found["trials"]}) == len(found["trials"]) == 2
    sign = 1 if found["lower_is_better"] else -1
    scores = [found["default_score"], *(trial["score"] for trial in found["trials"])]
    assert sign * found["best_score"] == min(sign * score for score in scores)
    assert sign * found["nested"]["score"] >= sign * found["best_score"] - 1e-9 or kind == "grades"
    table = pd.read_csv(folder / "trials.csv")
    assert table["score"].tolist() == pytest.approx(scores[1:])
    assert set(table["run"]) == {run.name for run in (home / "task" / "runs").iterdir()}, "the default is among them"


def test_another_space_is_another_study_and_finds_its_runs_again(cli: Cli, tiny: str, plugin: Path, home: Path) -> None:
    tune(cli, plugin, tiny, *SEARCH, "--trials", "4")
    runs = {run.name for run in (home / "task" / "runs").iterdir()}
    tune(cli, plugin, tiny, "--search", "output=logits,pooled", "--trials", "4")
    found, _ = outcome(home)
    assert len(found["trials"]) == 2
    more = {run.name for run in (home / "task" / "runs").iterdir()}
    assert more == runs, "features, heads and scores were there"


def test_the_winner_is_written_if_its_gain_is_proven(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    ill = '\n@hookimpl\ndef recipe():\n    return {"head": "mlp", "mlp_width": 1, "mlp_dropout": 0.99}\n'
    plugin = declared("numbers", tmp_path, ill)
    said = tune(cli, plugin, tiny, "--search", "output=pooled", "--write").out
    assert "is not written: the gain is not proven" in said
    assert not (home / "task" / "recipe.toml").exists()
    assert ": proven" in tune(cli, plugin, tiny, "--search", "head=mlp,logistic", "--write").out
    written = tomllib.loads((home / "task" / "recipe.toml").read_text())
    assert written["heads"] == {"head": "logistic", "regularisation_grid": [1.0]}
    assert "is already finished" in succeeded(cli("run", plugin)).out, "the winner's run is there"


def test_a_trial_that_fails_is_recorded_and_the_study_goes_on(
    cli: Cli, tiny: str, plugin: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise UserError("no such model")

    tune(cli, plugin, tiny, *SEARCH, "--trials", "2")
    monkeypatch.setattr(trials, "ready", broken)
    said = tune(cli, plugin, tiny, *SEARCH, "--trials", "4").out
    assert "2 trials failed: no such model" in said
    found, _ = outcome(home)
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 2 + ["failed"] * 2


# --- the space of the method, and of the plugin


def test_what_has_no_effect_is_not_searched() -> None:
    assert spaces.may_matter("mlp_width", {"head"}, {"head": "auto"})
    assert spaces.may_matter("mlp_width", {"crop"}, {"head": "mlp"})
    assert not spaces.may_matter("mlp_width", {"crop"}, {"head": "auto"})
    space = {"mlp_width": Range(1, 3, whole=True), "head": Choices(("mlp", "nearest"))}
    found = {tuple(sorted(drawn.items())) for drawn in spaces.draws(space, np.random.default_rng(0))}
    assert found == {(("head", "nearest"),), *((("head", "mlp"), ("mlp_width", width)) for width in (1, 2, 3))}


@pytest.mark.parametrize("name", ["dogs-vs-cats", "state-farm", "aptos2019", "petfinder-pawpularity", "planet-amazon"])
@pytest.mark.parametrize("method", ["features", "finetune"])
def test_the_default_space_holds_what_a_run_can_have(name: str, method: str) -> None:
    project = Project.load(name)
    usual = table.get(method).search_space(project.competition, "cpu")

    def check(own: Any) -> None:
        table.check(table.resolve(project, dict(own) | {"method": method}, lambda _: None), project.competition.task)

    space = spaces.possible(usual, check)
    numbers, grades = name == "petfinder-pawpularity", name == "aptos2019"
    if method == "features":
        assert ("ordinal" in str(space["head"])) == grades
        assert ("nearest" in str(space["head"])) == (name not in ("petfinder-pawpularity", "planet-amazon"))
        assert ("balance" in space) != numbers
    else:
        assert ("label_smoothing" in space) != numbers
        assert set(space) == set(usual)
    own = project.plugin.search_space(usual)
    assert set(own) <= set(usual)
    assert set(spaces.parsed(own, "the plugin", lambda _: None)) == set(own)


def test_a_plugin_narrows_the_space(cli: Cli, tiny: str, tmp_path: Path, home: Path) -> None:
    hook = HOOK.replace("{}", '{"crop": "centre,squash", "output": space["output"]}')
    tune(cli, declared("numbers", tmp_path, hook), tiny, "--trials", "1")
    assert outcome(home)[0]["space"] == {"crop": "centre,squash", "output": "pooled,logits"}
    tune(cli, tmp_path / "task.py", tiny, "--trials", "1", "--set", "crop=squash")
    assert outcome(home)[0]["space"] == {"output": "pooled,logits"}, "what is set is not searched"


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ('{"heed": "mlp,logistic"}', "hook 'search_space':: no setting called 'heed'"),
        ('{"head": ["mlp", "logistic"]}', "must be text"),
        ('{"head": "mpl,logistic"}', "must be one of"),
    ],
)
def test_a_plugin_s_space_is_checked(returned: str, said: str, cli: Cli, tiny: str, tmp_path: Path) -> None:
    plugin = declared("numbers", tmp_path, HOOK.replace("{}", returned))
    line = failed(cli(*words(plugin, tiny)))
    assert said in line
    assert "hook 'search_space'" in line


# --- killed, and several at once


def test_two_commands_share_a_study_and_one_goes_on_for_both(
    tiny: str, plugin: Path, home: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "kagglekit", *words(plugin, tiny, *SEARCH, "--search", "crop=centre,squash")]
    command += ["--trials", "8"]
    environment = os.environ | {"KAGGLEKIT_HOME": str(home)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = both
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("trial "):
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert not errors
    found, _ = outcome(home)
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    assert len({json.dumps(trial["settings"]) for trial in found["trials"]}) == 8, "none is lost, none is repeated"


def opened(folder: Path, *, lower_is_better: bool = True, **space: Any) -> Study:
    space = space or {"width": Range(1, 100, whole=True)}
    return Study(folder, "one", space, lower_is_better=lower_is_better, seed=0)


def test_a_killed_trial_is_run_again_but_not_for_ever(tmp_path: Path) -> None:
    typed = []
    for _ in range(3):
        claim = opened(tmp_path).claim(1)
        assert claim is not None
        typed.append(claim.typed)
        claim.lock.release()  # as the end of its process does
    assert typed[0] == typed[1] == typed[2]
    assert opened(tmp_path).claim(1) is None
    (told,) = opened(tmp_path).trials()
    assert (told.state, told.error) == ("failed", "killed 3 times, perhaps for its memory")


def test_a_running_trial_counts_and_one_that_is_put_back_does_not(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    claim = one.claim(1)
    assert claim is not None
    assert other.claim(1) is None
    assert other.others_run()
    one.put_back(claim)
    again = other.claim(1)
    assert again is not None
    assert again.typed == claim.typed
    other.complete(again, 1.0, "run", 2.0)
    assert not one.others_run()
    assert [told.state for told in one.trials()] == ["complete"]


@pytest.mark.parametrize("lower", [True, False])
def test_a_trial_clearly_behind_the_median_of_five_is_pruned(lower: bool, tmp_path: Path) -> None:
    own, sign = opened(tmp_path, lower_is_better=lower), 1 if lower else -1

    def behind(value: float) -> bool:
        claim = own.claim(99)
        assert claim is not None
        found = own.is_behind(claim, "1 folds", sign * value, 1.0, lower_is_better=lower)
        own.prune(claim, 1.0) if found else own.complete(claim, sign * value, "run", 1.0)
        return found

    assert [behind(value) for value in (9, 2, 3, 4, 5)] == [False] * 5, "too few to compare with"
    assert [behind(value) for value in (6.5, 5.5, 10)] == [True, False, True]
    assert [told.state for told in own.trials()].count("pruned") == 2


def test_what_mattered_is_told_of_eight_trials_or_more(tmp_path: Path) -> None:
    own = opened(tmp_path, crop=Choices(("model", "squash")), width=Range(1, 100, whole=True))
    for number in range(8):
        assert own.importances() == {}, number
        claim = own.claim(99)
        assert claim is not None
        own.complete(claim, float(claim.typed["crop"] == "model"), "run", 1.0)
    found = own.importances()
    assert found["crop"] > found["width"]
    assert sum(found.values()) == pytest.approx(1)


def test_choices_are_text_so_that_optuna_warns_of_nothing(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    own = opened(tmp_path, rates=Choices(("0.1+0.3+1", "1")), rate=Range(1e-4, 1e-2, whole=False))
    claim = own.claim(1)
    assert claim is not None
    assert set(claim.typed) == {"rates", "rate"}
    assert not recwarn.list


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / study.FILE).write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="move it away"):
        opened(tmp_path)


# --- time


def test_no_trial_is_begun_that_can_t_end(
    cli: Cli, tiny: str, plugin: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = failed(cli(*words(plugin, tiny, *SEARCH, "--budget", "0.01s")))
    assert "--budget ended before the default run did" in line
    tune(cli, plugin, tiny, *SEARCH, "--trials", "1")
    monkeypatch.setattr("kagglekit.tuning.tune._seconds", lambda _: [1000.0])  # of each trial so far
    said = tune(cli, plugin, tiny, *SEARCH, "--trials", "3", "--budget", "10m").out
    assert "and a trial may take" in said
    assert len(outcome(home)[0]["trials"]) == 1


def test_a_trial_in_progress_is_stopped_and_goes_on_later(
    cli: Cli, tiny: str, plugin: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(clock: trials.Clock) -> None:
        clock.ends = time.monotonic()
        raise trials.OutOfTimeError

    tune(cli, plugin, tiny, *SEARCH, "--trials", "1")
    with monkeypatch.context() as patch:
        patch.setattr(trials.Clock, "check", over)
        said = tune(cli, plugin, tiny, *SEARCH, "--trials", "2").out
    assert "stopped to end in time" in said
    assert len(outcome(home)[0]["trials"]) == 1
    tune(cli, plugin, tiny, *SEARCH, "--trials", "2")
    assert [trial["state"] for trial in outcome(home)[0]["trials"]] == ["complete"] * 2


# --- fine-tuning


def test_fine_tuning_is_compared_after_epochs_and_folds(
    cli: Cli, tiny: str, plugin: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    behind = Study.is_behind

    def listen(self: Study, claim: Any, key: str, *values: float, lower_is_better: bool) -> bool:
        seen.append(key)
        return behind(self, claim, key, *values, lower_is_better=lower_is_better)

    monkeypatch.setattr(Study, "is_behind", listen)
    small = ("phases=all epochs=2", "image_size=32", "validation_share=0.2", "folds=2", "tta_views=0")
    quick = ("--method", "finetune", *(word for setting in small for word in ("--set", setting)))
    search = ("--search", "learning_rate=1e-5", "--trials", "1")
    succeeded(cli(*words(plugin, tiny, *search, quick=quick)))
    assert {"fold0-0 all 1 of 2", "1 folds"} <= set(seen)


# --- honesty


@pytest.mark.parametrize(("task", "name"), CASES, ids=[name for _, name in CASES])
def test_of_settings_that_are_noise_the_best_flatters_and_the_nested_estimate_does_not(task: Any, name: str) -> None:
    metric, usual = metrics.resolve(name, task.columns, ""), task.usual()
    sign = 1 if metric.lower_is_better else -1
    flattery, gain, proven = [], [], 0
    for seed in range(8):
        scored, made = drawn(task, 0, seed, 30)
        rows = [deciding.needed(metric, one, usual) for one in made]
        found = nested.estimate(scored, [lambda own=own: own for own in rows], metric, seed)
        scores = [sign * gates.score(scored.truth, own, metric) for own in rows]
        flattery.append(float(np.mean(scores)) - min(scores))
        gain.append(float(np.mean(scores)) - sign * found.score)
        proven += found.judgement.kept
    assert np.mean(flattery) > 3 * abs(np.mean(gain)), "no setting is better than another"
    assert proven <= 1


def test_a_setting_that_is_better_is_chosen_by_every_fold() -> None:
    task, name = CASES[0]
    metric = metrics.resolve(name, task.columns, "")
    scored, made = drawn(task, 0, 0, 3)
    better = 0.7 * made[2] + 0.3 * np.eye(3)[scored.truth]
    found = nested.estimate(scored, [lambda: made[0], lambda: better, lambda: made[1]], metric, 0)
    assert set(found.chosen.values()) == {1}
    assert found.score == pytest.approx(gates.score(scored.truth, better, metric))
    assert found.judgement.kept
