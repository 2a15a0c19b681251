"""Descriptions and plugins: what is refused at once, and that every message names its plugin and hook."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kagglekit.base.errors import PluginError, UserError
from kagglekit.competitions import installed, plugins
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.hookspecs import hookimpl
from kagglekit.competitions.locations import CsvLabels, FilenameLabels, FolderLabels
from kagglekit.formats import ClassLabel, OwnFormat, Probability, ProbabilityPerClass
from kagglekit.metrics import Metric
from kagglekit.tasks.targets import Classes, FromTrain, Grades, Labels, Number, Shares

THREE = {"c0": "safe", "c1": "right", "c2": "left"}


def described(**changes: Any) -> Competition:
    settings: dict[str, Any] = {
        "name": "leaf",
        "kaggle": "leaf-classification",
        "classes": THREE,
        "train": FolderLabels("train/{label}"),
        "test": "test/{id}.jpg",
        "submission": ProbabilityPerClass(),
    }
    return Competition(**settings | changes)


def test_without_a_metric_the_target_has_its_usual_one() -> None:
    forms = {"submission": OwnFormat(), "classes": {}}
    usual = {kind: described(target=target, **forms).scored_by.name for kind, target in TARGETS.items()}
    assert usual == {
        "classes": "log loss",
        "labels": "log loss",
        "grades": "quadratic weighted kappa",
        "numbers": "RMSE",
        "shares": "RMSE",
    }


TARGETS = {each.kind: each for each in (Classes(["a", "b"]), Labels(["a"]), Grades(3), Number(), Shares(["a", "b"]))}


def test_the_short_form_names_the_classes_that_a_target_leaves_open_or_has() -> None:
    assert described(target=Classes(FromTrain(), unseen="c2")).target == Classes(THREE, unseen="c2")
    assert described(target=Classes(THREE, unseen="c2")).target == Classes(THREE, unseen="c2")


def test_a_function_that_scores_numbers_gets_them_within_their_range() -> None:
    fields = {"classes": {}, "target": Number(0, 2), "submission": OwnFormat()}
    for metric in (lambda truth, rows: 0.0, Metric(name="own", score=lambda truth, rows: 0.0)):
        assert described(**fields, metric=metric).scored_by.needs == "numbers"
    with pytest.raises(ValueError, match="metric 'own' needs lists, and numbers have no order"):
        described(**fields, metric=Metric(name="own", score=lambda truth, lists: 0.0, needs="top", k=3))


def test_the_label_that_is_submitted_is_the_one_that_is_scored() -> None:
    metric = described(classes={}, target=Labels(list("abc")), submission=Probability(of="b"), metric="auc").scored_by
    truth = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0]])
    assert metric.score(truth, np.array([[9, 1, 9], [0, 3, 9], [9, 2, 0], [0, 4, 0]]) / 10) == 0.75


def test_a_metric_that_names_labels_is_checked_when_the_data_has_named_them() -> None:
    unknown = described(classes={}, metric="log_loss(weights={'a': 2})")
    truth, rows = np.array([0, 1]), np.array([[0.5, 0.5], [0.25, 0.75]])
    known = unknown.with_target(unknown.target.named({"a": "a", "b": "b"}))
    assert known.scored_by.score(truth, rows) == pytest.approx((2 * np.log(2) - np.log(0.75)) / 3)
    with pytest.raises(ValueError, match="log_loss: weights name 'a', which is not one of x, y"):
        unknown.with_target(unknown.target.named({"x": "x", "y": "y"}))


def test_the_class_that_is_submitted_is_the_positive_one() -> None:
    two = {"cat": "Cat", "dog": "Dog"}
    truth, decided = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    for positive, expected in (("cat", 0.8), ("dog", 2 / 3)):
        metric = described(classes=two, submission=Probability(of=positive), metric="f1(binary)").scored_by
        assert metric.score(truth, decided) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Leaf"}, "name 'Leaf' must be lower-case letters"),
        ({"name": ""}, "name '' must be"),
        ({"name": "leaf_one"}, "name 'leaf_one' must be"),
        ({"name": "leaf--one"}, "single hyphens"),
        ({"name": "-leaf"}, "single hyphens"),
        ({"name": "../leaf"}, "name '../leaf' must be"),
        ({"name": "leaf\n"}, "must be lower-case letters"),
        ({"classes": {"c0": "safe"}}, "at least two labels to names, not 1"),
        ({"classes": ["c0", "c1"]}, "classes must map"),
        ({"target": Classes(["c0", "c1", "c2"])}, "short form of target=Classes(…), and the two differ: give one"),
        ({"target": Classes(dict(reversed(THREE.items())))}, "short form of target=Classes(…), and the two differ"),
        ({"target": Grades(3)}, "short form of target=Classes(…), and the two differ: give one of them"),
        ({"submission": Probability(of="c9")}, "submission.of 'c9' is not one of the classes"),
        ({"submission": Probability(of="c0")}, "Probability needs two classes, not 3: use ProbabilityPerClass"),
        ({"metric": "logloss"}, "metric 'logloss' is not one of accuracy, auc"),
        ({"metric": "rmse"}, "metric 'RMSE' scores numbers, shares, not classes"),
        ({"metric": "f1(binary)"}, "f1 is for two classes, not 3"),
        ({"test": "test/{image}.jpg"}, "'test/{image}.jpg' must have {id} exactly once"),
        ({"test": ("test/{id}.jpg", "/test/{id}")}, "'/test/{id}' must be a path below the data folder"),
        ({"flip": "yes"}, "flip 'yes' is not 'allowed', 'forbidden' or a mapping"),
        ({"flip": {"c1": "c9"}}, "flip names 'c9', which is not one of the classes"),
        ({"flip": {"c9": "c1"}}, "flip names 'c9', which is not one of the classes"),
        ({"flip": {"c1": "c2"}}, "flip must swap"),
        ({"flip": {"c1": "c2", "c2": "c2"}}, "flip must swap"),
    ],
)
def test_an_impossible_description_is_refused_at_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        described(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "arguments", "words"),
    [
        (FilenameLabels, ("train/{number}.jpg",), "must have {label} exactly once"),
        (FilenameLabels, ("train/{label}.jpg", ("{x}.jpg",)), "'{x}.jpg' must have {label}"),
        (FolderLabels, ("train",), "'train' must have {label}"),
        (FolderLabels, ("../{label}",), "below the data folder"),
        (CsvLabels, ("labels.csv", "train/{label}.jpg", "id", "label"), "must have {id} exactly once"),
        (partial(CsvLabels, also=("a/{id",)), ("labels.csv", "{id}.jpg", "id", "label"), "unbalanced brace"),
    ],
)
def test_a_layout_with_a_wrong_pattern_is_refused(layout: Any, arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=r"must|has") as caught:
        layout(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize("form", [ProbabilityPerClass, ClassLabel])
@pytest.mark.parametrize("id_format", ["", "img.jpg", "{image}.jpg", "{id}_{id}", "{id}{n}"])
def test_an_id_format_without_just_the_id_is_refused(form: Any, id_format: str) -> None:
    with pytest.raises(ValueError, match="must have the placeholder {id} once") as caught:
        form(id_format=id_format)
    assert repr(id_format) in str(caught.value)


@pytest.mark.parametrize(
    ("flip", "positions"),
    [
        ("forbidden", None),
        ("allowed", (0, 1, 2)),
        ({}, (0, 1, 2)),
        ({"c1": "c2", "c2": "c1"}, (0, 2, 1)),
        ({"c0": "c2", "c2": "c0", "c1": "c1"}, (2, 1, 0)),
    ],
)
def test_mirror_classes_are_the_positions_of_the_mirrored_image_s(flip: Any, positions: tuple[int, ...] | None) -> None:
    assert described(flip=flip).mirror_classes == positions


def test_flips_are_forbidden_unless_they_are_declared() -> None:
    assert described().mirror_classes is None


def test_a_description_is_frozen_and_its_own() -> None:
    classes = dict(THREE)
    leaf = described(classes=classes, leaderboard={"first": 0.1})
    classes["c3"] = "new"
    assert leaf.labels == ("c0", "c1", "c2")
    assert isinstance(leaf.leaderboard, MappingProxyType)
    with pytest.raises(TypeError):
        leaf.classes["c3"] = "new"  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        leaf.name = "other"  # type: ignore[misc]


def test_what_is_left_out_is_filled_in() -> None:
    leaf = described()
    assert leaf.url == "https://www.kaggle.com/competitions/leaf-classification"
    assert leaf.test_patterns == ("test/{id}.jpg",)
    assert described(url="https://example.org").url == "https://example.org"


def test_what_a_run_records_tells_two_descriptions_apart() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"name": "other"},
        {"classes": {"c0": "safe", "c1": "left"}},
        {"train": FolderLabels("images/{label}")},
        {"test": "tests/{id}.jpg"},
        {"valid": FolderLabels("valid/{label}")},
        {"flip": "allowed"},
        {"flip": {"c1": "c2", "c2": "c1"}},
        {"submission": ClassLabel()},
        {"metric": "accuracy"},
        {"metric": Metric(name="own", score=lambda truth, probabilities: 0.0)},
    ]
    records = [described(**change).describe() for change in changes]
    assert all(one != other for one, other in itertools.combinations(records, 2))


# plugins

HEAD = "from kagglekit import Competition, FolderLabels, ProbabilityPerClass, hookimpl\n"
COMPETITION = """
@hookimpl
def competition():
    return Competition(
        name="leaf", kaggle="leaf", classes={"a": "A", "b": "B"}, train=FolderLabels("train/{label}"),
        test="test/{id}.jpg", submission=ProbabilityPerClass(),
    )
"""


def plugin_file(folder: Path, *parts: str, name: str = "leaf.py") -> str:
    path = folder / name
    path.write_text(HEAD + "".join(parts), encoding="utf-8")
    return str(path)


def one_line(caught: pytest.ExceptionInfo[UserError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def broken_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a distribution whose plugin can't be imported."""
    metadata = tmp_path / "broken_leaf-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-leaf\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(
        "[kagglekit.competitions]\na-broken-leaf = broken_leaf\nbroken = broken_leaf\n"
    )
    (tmp_path / "broken_leaf.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "broken"


def test_installed_plugins_have_their_shortest_name_and_their_aliases(broken_plugin: str) -> None:
    listings = {listing.name: listing for listing in installed.listings()}
    assert list(listings) == sorted(listings)
    assert listings["dogs-vs-cats"].aliases == ("dogs-vs-cats-redux", "dogs-vs-cats-redux-kernels-edition")
    assert listings["dogs-vs-cats"].module == "kagglekit_dogs_vs_cats"
    assert listings["dogs-vs-cats"].module == "kagglekit_dogs_vs_cats"
    assert listings["state-farm"].aliases == ("state-farm-distracted-driver-detection",)
    assert listings["broken"] == installed.Listing("broken", ("a-broken-leaf",), "broken_leaf")


def test_a_plugin_that_fails_to_import_breaks_only_its_own_commands(broken_plugin: str) -> None:
    assert plugins.load("dogs-vs-cats").competition().name == "dogs-vs-cats"
    with pytest.raises(PluginError) as caught:
        plugins.load(broken_plugin)
    assert "plugin 'broken' can't be imported: ModuleNotFoundError: " in one_line(caught)
    assert "a_package_that_nobody_has" in one_line(caught)


def test_listing_imports_no_plugin(broken_plugin: str) -> None:
    installed.listings()
    assert "broken_leaf" not in sys.modules


@pytest.mark.parametrize("listing", installed.listings(), ids=lambda listing: listing.name)
def test_every_alias_leads_to_the_same_competition(listing: installed.Listing) -> None:
    competition = plugins.load(listing.name).competition()
    assert competition.name == listing.name
    for alias in listing.aliases:
        assert plugins.load(alias).competition() == competition
    assert competition.kaggle in (listing.name, *listing.aliases)


def test_a_plugin_is_loaded_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin_file(tmp_path, COMPETITION)
    assert plugins.load(path).competition().name == "leaf"
    monkeypatch.chdir(tmp_path)
    assert plugins.load("leaf.py").competition().name == "leaf"
    assert plugins.load("./leaf.py").recipe() == {}


def test_two_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = plugins.load(plugin_file(tmp_path, COMPETITION))
    second = plugins.load(plugin_file(tmp_path / "other", COMPETITION.replace('name="leaf"', 'name="pine"')))
    assert (first.competition().name, second.competition().name) == ("leaf", "pine")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dogs-vs-cat", "no competition called 'dogs-vs-cat': did you mean 'dogs-vs-cats'?"),
        ("statefarm", "did you mean 'state-farm'?"),
        ("zzz", "no competition called 'zzz': a path to a plugin file works too"),
        ("nowhere/leaf.py", "no plugin file 'nowhere/leaf.py'"),
        ("leaf.py", "no plugin file 'leaf.py'"),
    ],
)
def test_an_unknown_name_says_what_to_type_instead(name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        plugins.load(name)
    assert words in one_line(caught)
    assert "`kagglekit list`" in one_line(caught)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (["raise RuntimeError('out of leaves')"], "can't be imported: RuntimeError: out of leaves"),
        (["raise RuntimeError('out of leaves\\nand of twigs')"], "can't be imported: RuntimeError: out of leaves"),
        (["def competition(:\n"], "can't be imported: SyntaxError"),
        (["import nothing_of_this_name"], "can't be imported: ModuleNotFoundError"),
        ([COMPETITION.replace("competition()", "competiton()")], "hook 'competiton' does not exist"),
        ([COMPETITION.replace("competition()", "competiton()")], "did you mean 'competition'?"),
        ([COMPETITION, "@hookimpl\ndef recipes():\n    return {}\n"], "hook 'recipes' does not exist"),
        (
            [COMPETITION, "@hookimpl\ndef xyzzy():\n    return {}\n"],
            "hook 'xyzzy' does not exist; hooks are competition, recipe",
        ),
        ([COMPETITION, "@hookimpl\ndef recipe(colour):\n    return {}\n"], "recipe"),
        ([COMPETITION, "@hookimpl\ndef recipe(colour):\n    return {}\n"], "colour"),
    ],
)
def test_a_plugin_that_can_not_be_loaded_is_named_and_says_why(parts: list[str], words: str, tmp_path: Path) -> None:
    path = plugin_file(tmp_path, *parts)
    with pytest.raises(PluginError) as caught:
        plugins.load(path)
    assert f"plugin {path!r}" in one_line(caught)
    assert words in one_line(caught)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "has no hook 'competition' that returns a Competition"),
        ([COMPETITION.replace("@hookimpl", "")], "has no hook 'competition' that returns a Competition"),
        (["@hookimpl\ndef competition():\n    return None\n"], "has no hook 'competition'"),
        (["@hookimpl\ndef competition():\n    return {'name': 'leaf'}\n"], "hook 'competition': returned dict"),
        ([COMPETITION.replace('"b": "B"', "")], "hook 'competition': classes must map at least two"),
        ([COMPETITION.replace('"leaf"', '"Leaf"')], "hook 'competition': name 'Leaf' must be"),
    ],
)
def test_a_plugin_without_a_fine_description_is_named_and_says_why(
    parts: list[str], words: str, tmp_path: Path
) -> None:
    path = plugin_file(tmp_path, *parts)
    plugin = plugins.load(path)
    with pytest.raises(PluginError) as caught:
        plugin.competition()
    assert f"plugin {path!r}" in one_line(caught)
    assert words in one_line(caught)


def called(plugin: plugins.Plugin, hook: str) -> Any:
    """Call one of a plugin's hooks as a run does."""
    leaf = plugin.competition()
    files = DataFiles({}, "the data")
    calls = {
        "recipe": plugin.recipe,
        "augmentations": lambda: plugin.augmentations((72, 96)),
        "train_table": lambda: plugin.train_table(leaf, files),
        "test_table": lambda: plugin.test_table(leaf, files),
        "submission": lambda: plugin.submission(leaf, ["1"], np.array([[0.5, 0.5]]), None),
    }
    return calls[hook]()


HOOKS = ("recipe", "augmentations", "train_table", "test_table", "submission")


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("expression", "kind"),
    [("[1, 2]", "list"), ("'text'", "str"), ("numpy.ones((9, 9))", "ndarray"), ("'text\\n' * 99", "str")],
)
def test_what_a_hook_returns_is_checked_and_the_hook_is_named(
    hook: str, expression: str, kind: str, tmp_path: Path
) -> None:
    path = plugin_file(tmp_path, "import numpy\n", COMPETITION, f"@hookimpl\ndef {hook}():\n    return {expression}\n")
    plugin = plugins.load(path)
    with pytest.raises(PluginError) as caught:
        called(plugin, hook)
    assert f"plugin {path!r}, hook {hook!r}: returned {kind} (" in one_line(caught)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_value_error_in_a_hook_is_the_plugin_s(hook: str, tmp_path: Path) -> None:
    path = plugin_file(tmp_path, COMPETITION, f"@hookimpl\ndef {hook}():\n    raise ValueError('no leaves')\n")
    plugin = plugins.load(path)
    with pytest.raises(PluginError) as caught:
        called(plugin, hook)
    assert f"plugin {path!r}, hook {hook!r}: no leaves" in one_line(caught)


@pytest.mark.parametrize("hook", ["train_table", "test_table"])
def test_a_table_that_breaks_its_contract_names_the_hook(hook: str, tmp_path: Path) -> None:
    body = f"@hookimpl\ndef {hook}():\n    return pandas.DataFrame({{'id': ['1']}})\n"
    path = plugin_file(tmp_path, "import pandas\n", COMPETITION, body)
    plugin = plugins.load(path)
    with pytest.raises(PluginError) as caught:
        called(plugin, hook)
    assert f"plugin {path!r}, hook {hook!r}: the table has no column 'path'" in one_line(caught)


def test_a_plugin_s_hook_wins_over_the_default(tmp_path: Path) -> None:
    path = plugin_file(tmp_path, COMPETITION, "@hookimpl\ndef recipe():\n    return {'folds': 3}\n")
    assert plugins.load(path).recipe() == {"folds": 3}
    assert plugins.load("dogs-vs-cats").recipe() == {"method": "features"}, "another plugin's hook is not heard"


def test_a_plugin_s_code_is_known_without_one_of_its_hooks(tmp_path: Path) -> None:
    metric, hook = "def score(truth, rows):\n    return {}\n", "def submission(competition):\n    return {}\n"

    def digest(*parts: str, without: tuple[str, ...] = ("submission",)) -> str:
        (tmp_path / "leaf.py").write_text("\n".join(parts))
        return plugins.load(str(tmp_path / "leaf.py")).digest(without)

    first = digest(metric.format(1), hook.format(1))
    assert digest("# a comment", metric.format(1), hook.format(2)) == first
    assert digest(metric.format(1)) == first
    assert digest(metric.format(2), hook.format(1)) != first
    assert digest(metric.format(1), hook.format(1), without=()) != digest(metric.format(1), hook.format(2), without=())


def test_a_table_of_a_hook_is_checked_before_classes_are_read_from_it() -> None:
    module = SimpleNamespace(
        competition=hookimpl(lambda: described(classes={})),
        train_table=hookimpl(lambda: pd.DataFrame({"id": ["1"], "path": ["1.jpg"]})),
    )
    plugin = plugins.Plugin("leaf", module)
    with pytest.raises(PluginError, match="plugin 'leaf', hook 'train_table': the table has no column 'label'"):
        plugin.resolve(plugin.competition(), DataFiles({}, "the data"))
