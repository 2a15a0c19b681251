"""Settings: which source wins, what is refused, and that a recipe can be written and read again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit import recipe
from kagglekit.base.errors import UserError
from kagglekit.cli import options
from kagglekit.recipe import Recipe
from kagglekit.recipe.recipe import FORMER_NAMES


def resolved(folder: Path, toml: str = "", plugin: dict[str, Any] | None = None, **command_line: Any) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(toml, encoding="utf-8")
    return recipe.resolve(plugin or {}, "pets", path, command_line)


def refused(folder: Path, toml: str = "", plugin: dict[str, Any] | None = None, **command_line: Any) -> str:
    with pytest.raises(UserError) as caught:
        resolved(folder, toml, plugin, **command_line)
    message = str(caught.value)
    assert "\n" not in message
    return message


def value_of(chosen: Recipe, setting: str) -> Any:
    return getattr(getattr(chosen, recipe.SECTION_OF[setting]), setting)


def test_without_any_source_the_defaults_hold(tmp_path: Path) -> None:
    assert recipe.resolve({}, "pets", tmp_path / "missing.toml", {}) == Recipe()


@pytest.mark.parametrize(
    ("plugin", "toml", "command_line", "folds"),
    [
        ({}, "", {}, 5),
        ({"folds": 6}, "", {}, 6),
        ({"folds": 6}, "folds = 7", {}, 7),
        ({"folds": 6}, "folds = 7", {"folds": "8"}, 8),
        ({"folds": 6}, "", {"folds": "8"}, 8),
        ({}, "folds = 7", {"folds": 8}, 8),
    ],
)
def test_each_source_overrides_those_before_it(
    plugin: dict[str, Any], toml: str, command_line: dict[str, Any], folds: int, tmp_path: Path
) -> None:
    assert resolved(tmp_path, toml, plugin, **command_line).data.num_folds == folds


def test_settings_that_a_source_leaves_out_stay(tmp_path: Path) -> None:
    chosen = resolved(tmp_path, "seed = 7\nfeature_views = ['plain']", {"crop": "squash", "seed": 3}, folds="10")
    assert chosen == Recipe.of(crop="squash", seed=7, feature_views=("plain",), folds=10)


@pytest.mark.parametrize(
    ("sources", "origin"),
    [
        ({"plugin": {"fold": 6}}, "plugin 'pets', hook 'recipe'"),
        ({"toml": "fold = 6"}, "recipe.toml"),
        ({"fold": "6"}, "the command line"),
    ],
)
def test_an_unknown_setting_names_its_source_and_the_nearest(
    sources: dict[str, Any], origin: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, **sources)
    assert origin in message
    assert "no setting called 'fold': did you mean 'folds'?" in message


def test_an_unknown_setting_like_no_other_names_the_command_that_lists_all(tmp_path: Path) -> None:
    message = refused(tmp_path, zzzzzz="1")
    assert message == "the command line: no setting called 'zzzzzz': `kagglekit info NAME` lists all."


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("folds = 5.0", "folds = 5.0: must be int, not float"),
        ("folds = true", "folds = True: must be int, not bool"),
        ("mlp_dropout = true", "mlp_dropout = True: must be float, not bool"),
        ("folds = [5]", "folds = [5]: must be int, not list"),
        ("regularisation_grid = 0.1", "regularisation_grid = 0.1: must be a list"),
        ("regularisation_grid = ['x']", "must be a number"),
        ("backbone = [1]", "must be str, not int"),
        ("head = 'svm'", "head = 'svm': must be one of auto, logistic, mlp"),
        ("feature_views = ['plain', 'upside']", "must be one of plain, mirror"),
        ("crop = 1", "must be one of model, centre, squash"),
        ("[folds]\nx = 1", "folds = {'x': 1}: must be int, not dict"),
    ],
)
def test_a_wrong_type_in_the_file_is_refused_with_its_value(toml: str, words: str, tmp_path: Path) -> None:
    message = refused(tmp_path, toml)
    assert words in message
    assert str(tmp_path / "recipe.toml") in message


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("folds", "many", "folds = 'many': must be an integer"),
        ("folds", "5.5", "folds = '5.5': must be an integer"),
        ("folds", "", "folds = '': must be an integer"),
        ("mlp_dropout", "half", "mlp_dropout = 'half': must be a number"),
        ("regularisation_grid", "0.1,x", "regularisation_grid = '0.1,x': must be a number"),
        ("provider", "tpu", "provider = 'tpu': must be one of auto, cpu, cuda"),
        ("finish", "temperature,blend", "must be one of temperature, clip"),
    ],
)
def test_a_wrong_type_on_the_command_line_is_refused_with_its_value(
    setting: str, value: str, words: str, tmp_path: Path
) -> None:
    message = refused(tmp_path, **{setting: value})
    assert message.startswith("the command line: setting ")
    assert words in message


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        ("folds", "10", 10),
        ("mlp_dropout", "0.25", 0.25),
        ("mlp_dropout", "0", 0.0),
        ("regularisation_grid", "1e-3, 1", (0.001, 1.0)),
        ("backbone", "a,b=/x.pth", ("a", "b=/x.pth")),
        ("feature_views", "mirror", ("mirror",)),
        ("finish", "", ()),
        ("head", "mlp", "mlp"),
    ],
)
def test_text_from_the_command_line_is_parsed(setting: str, text: str, value: object, tmp_path: Path) -> None:
    given_value = value_of(resolved(tmp_path, **{setting: text}), setting)
    assert given_value == value
    assert type(given_value) is type(value)


@pytest.mark.parametrize(
    ("setting", "value", "rule"),
    [
        ("folds", 1, "must be 2 or more"),
        ("holdout", 0, "must be 1 or more"),
        ("sample", -1, "must be 0 (all) or more"),
        ("image_size", (31,), "must be one or two sides of at least 32, or 0"),
        ("image_size", (96, 96, 96), "must be one or two sides of at least 32, or 0"),
        ("backbone", (), "must name each backbone once"),
        ("backbone", ("a", "b", "a"), "must name each backbone once"),
        ("feature_views", (), "must name each view once"),
        ("feature_views", ("plain", "plain"), "must name each view once"),
        ("regularisation_grid", (), "must hold numbers above 0"),
        ("regularisation_grid", (1.0, 0.0), "must hold numbers above 0"),
        ("regularisation_grid", (-1.0,), "must hold numbers above 0"),
        ("regularisation_grid", (1.0, float("nan")), "must hold numbers above 0"),
        ("regularisation_grid", (1.0, float("inf")), "must hold numbers above 0"),
        ("mlp_dropout", 1.0, "must be at least 0 and below 1"),
        ("mlp_dropout", -0.1, "must be at least 0 and below 1"),
        ("mlp_dropout", float("nan"), "must be at least 0 and below 1"),
        ("mlp_width", 0, "must be 1 or more"),
        ("mlp_epochs", 0, "must be 1 or more"),
        ("feature_batch", -1, "must be 0 (automatic) or more"),
        ("threads", -1, "must be 0 (all cores) or more"),
        ("seed", -1, "must be from 0 to 2**32 - 1"),
        ("seed", 2**32, "must be from 0 to 2**32 - 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_rule(setting: str, value: object, rule: str) -> None:
    changes: dict[str, Any] = {setting: value}
    with pytest.raises(UserError) as caught:
        Recipe.of(**changes)
    assert f"setting {setting} = {value!r}: it {rule}" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"folds": 2}, {"image_size": (32,)}, {"mlp_dropout": 0.0}, {"seed": 2**32 - 1}, {"sample": 1}, {"holdout": 1}],
)
def test_the_ends_of_a_range_are_in_it(changes: dict[str, Any], tmp_path: Path) -> None:
    assert resolved(tmp_path, plugin=changes) == Recipe.of(**changes)


def test_a_range_is_checked_whatever_the_source(tmp_path: Path) -> None:
    assert "setting folds = 1: it must be 2 or more" in refused(tmp_path, "folds = 1")


@pytest.mark.parametrize("content", [b"folds = ", b"folds = 5\nfolds = 6", b"backbone = '\xff'"])
def test_a_broken_file_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        recipe.resolve({}, "pets", path, {})
    assert f"{path} is not valid TOML" in str(caught.value)


# any text, control characters such as DEL too; only halves of surrogate pairs can't be written as UTF-8
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


def some_of(setting: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Draw some of the values that a setting with several of them allows."""
    allowed = get_args(get_args(recipe.TYPES[setting])[0])
    return st.lists(st.sampled_from(allowed), min_size=1, unique=True).map(tuple)


def one_of(setting: str) -> st.SearchStrategy[str]:
    return st.sampled_from(get_args(recipe.TYPES[setting]))


RECIPES = st.builds(
    Recipe.of,
    backbone=st.lists(TEXT.filter(lambda text: "=" not in text), min_size=1, unique=True).map(tuple),
    provider=one_of("provider"),
    image_size=st.lists(st.integers(32), max_size=2).map(tuple) | st.just((0,)),
    method=st.sampled_from(["auto", "features", "finetune"]),
    budget=st.just("auto") | st.integers(1, 99).map("{}m".format),
    plan=one_of("plan"),
    phases=st.lists(st.just("all epochs=6")).map(tuple),
    rates=st.lists(st.floats(0, exclude_min=True, allow_infinity=False), min_size=1).map(tuple),
    label_smoothing=st.floats(0, 1, exclude_max=True),
    compile=st.booleans(),
    crop=one_of("crop"),
    feature_views=some_of("feature_views"),
    output=one_of("output"),
    head=one_of("head"),
    regularisation_grid=st.lists(st.floats(0, exclude_min=True, allow_infinity=False), min_size=1).map(tuple),
    mlp_width=st.integers(1),
    mlp_dropout=st.floats(0, 1, exclude_max=True),
    mlp_epochs=st.integers(1),
    validation=one_of("validation"),
    folds=st.integers(2),
    holdout=st.integers(1),
    sample=st.integers(0),
    seed=st.integers(0, 2**32 - 1),
    finish=st.just(()) | some_of("finish"),
    feature_batch=st.integers(0),
    threads=st.integers(0),
)


@settings(max_examples=100)
@given(RECIPES)
def test_a_recipe_written_and_read_is_the_same(tmp_path_factory: pytest.TempPathFactory, drawn: Recipe) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.toml"
    path.write_text(recipe.to_toml(drawn), encoding="utf-8")
    assert set(recipe.read_file(path)) == set(recipe.TYPES)
    assert recipe.resolve({"folds": 77, "feature_views": ["mirror"]}, "pets", path, {}) == drawn
    assert recipe.of_run(path) == drawn


@pytest.mark.parametrize("text", ["\x7f", "\x00\x1b[31m", "\"'\\", "a\nb\r\tc", "é日本🙂\u2028", "# [data]"], ids=ascii)
def test_any_text_is_written_so_that_it_can_be_read(text: str, tmp_path: Path) -> None:
    drawn = Recipe.of(start=text, backbone=(f"a{text}b",), phases=(f"all {text}.",))
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(drawn), encoding="utf-8")
    assert recipe.of_run(path) == drawn


@settings(max_examples=50)
@given(RECIPES, st.sets(st.sampled_from(sorted(recipe.TYPES))), st.booleans())
def test_with_sections_and_without_them_a_file_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, drawn: Recipe, loose: set[str], formerly: bool
) -> None:
    """Some settings stand in their sections, others before them; by today's names or by older ones."""
    path = tmp_path_factory.getbasetemp() / "mixed.toml"
    names = {name: name for name in recipe.TYPES} | (
        {new: old for old, new in FORMER_NAMES.items()} if formerly else {}
    )
    written: dict[str, Any] = {names[name]: value for name, value in drawn.as_dict().items() if name in loose}
    # a table and a setting of one name can't both stand in a file
    written |= {
        section: {names[name]: value for name, value in values.items() if name not in loose}
        for section, values in drawn.by_section().items()
        if section not in loose
    }
    missing = {} if "finish" not in loose else {n: v for n, v in drawn.by_section()["finish"].items() if n not in loose}
    path.write_text(tomli_w.dumps(written | {names[name]: value for name, value in missing.items()}), encoding="utf-8")
    said: list[str] = []
    assert recipe.resolve({}, "pets", path, {}, said.append) == drawn
    assert len(said) == int(formerly)
    assert recipe.of_run(path) == drawn


def test_a_weights_file_is_the_same_wherever_the_command_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = recipe.resolve({}, "pets", tmp_path / "none.toml", {"backbone": "a,b=x.pth"})
    assert resolved.features.backbone == ("a", f"b={tmp_path / 'x.pth'}")


def test_plain_values_are_those_of_the_fields() -> None:
    plain = Recipe.of(feature_views=("mirror",)).as_dict()
    assert plain["feature_views"] == ["mirror"]
    sections = [field.type for field in dataclasses.fields(Recipe)]
    assert len(sections) == len(recipe.SECTIONS)
    assert list(plain) == [field.name for kind in recipe.SECTIONS.values() for field in dataclasses.fields(kind)]


def test_a_setting_s_name_occurs_once() -> None:
    names = [field.name for kind in recipe.SECTIONS.values() for field in dataclasses.fields(kind)]
    assert len(set(names)) == len(names) == len(recipe.TYPES)
    assert not set(FORMER_NAMES) & set(names)


@pytest.mark.parametrize("section", recipe.SECTIONS)
def test_every_section_has_a_sentence(section: str) -> None:
    assert recipe.purpose(section).endswith(".")


def test_what_changes_no_result_is_no_part_of_what_a_run_is() -> None:
    every = set(recipe.TYPES)
    assert every - set(
        recipe.by_names(
            Recipe.of(
                balance=0.5, members=["one", "other"], scenes=2, class_shares=True, pseudo_labels=True, refit="all"
            ).identity()
        )
    ) == {
        "loader_workers",
        "checkpoint_seconds",
    }
    assert "balance" not in Recipe().identity(), "runs of versions without it are those with its default"
    assert Recipe.of(loader_workers=3, checkpoint_seconds=1).identity() == Recipe().identity()
    assert Recipe.of(feature_batch=3).identity() != Recipe().identity()


def test_a_recipe_is_changed_by_names_without_sections() -> None:
    changed = Recipe.of(folds=3).changed(seed=7, rates=[1], plan="ladder")
    assert (changed.data.folds, changed.data.seed, changed.schedule.rates) == (3, 7, (1.0,))
    assert changed == Recipe.of(rates=(1.0,), plan="ladder", seed=7, folds=3)
    with pytest.raises(TypeError, match="no settings called colour"):
        changed.changed(colour="red", folds=2)


OLDER = {
    "batch_size": ("feature_batch", "7", 7),
    "views": ("feature_views", "plain", ("plain",)),
    "tta": ("tta_views", "3", 3),
    "recipe": ("plan", "ladder", "ladder"),
    "strengths": ("regularisation_grid", "0.5", (0.5,)),
    "inner_share": ("validation_share", "0.25", 0.25),
}
"""Older name -> today's, a text, and what it means."""


def test_every_older_name_is_tested() -> None:
    assert {old: new for old, (new, _, _) in OLDER.items()} == FORMER_NAMES


@pytest.mark.parametrize("old", OLDER)
def test_an_older_name_works_wherever_it_is_typed_and_is_said(old: str, tmp_path: Path) -> None:
    new, text, value = OLDER[old]
    toml = tmp_path / "recipe.toml"
    toml.write_text(tomli_w.dumps({old: value}))
    none = tmp_path / "none.toml"
    for plugin, path, typed, source in (
        ({old: value}, none, {}, "plugin 'pets', hook 'recipe'"),
        ({}, toml, {}, str(toml)),
        ({}, none, {old: text}, "the command line"),
    ):
        said: list[str] = []
        assert recipe.resolve(plugin, "pets", path, typed, said.append) == Recipe.of(**{new: value})
        assert said == [f"note: settings were renamed; the old names still work: {old} is now {new} ({source})"]


def test_older_names_are_said_in_one_line(tmp_path: Path) -> None:
    said: list[str] = []
    toml = tmp_path / "recipe.toml"
    toml.write_text("[finish]\ntta = 2\n")
    chosen = recipe.resolve({"inner_share": 0.0}, "pets", toml, {"views": "plain", "tta": "1"}, said.append)
    assert chosen == Recipe.of(validation_share=0, tta_views=1, feature_views=["plain"])
    assert len(said) == 1
    assert all(f"{old} is now " in said[0] for old in ("inner_share", "tta", "views"))


def test_today_s_names_are_not_talked_about(tmp_path: Path) -> None:
    recipe.resolve({"tta_views": 1}, "pets", tmp_path / "none.toml", {"plan": "quick"}, pytest.fail)


def test_the_file_of_a_run_before_there_were_sections_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        'backbone = ["tf_efficientnet_lite0"]\nmethod = "finetune"\nimage_size = [128]\nviews = ["plain", "mirror"]\n'
        'strengths = [0.01, 1.0]\nfinish = ["temperature"]\nbatch_size = 16\nrecipe = "quick"\n'
        'phases = ["all epochs=6"]\ninner_share = 0.0\ntta = 2\ncompile = false\n'
    )
    assert recipe.of_run(path) == Recipe.of(
        backbone=["tf_efficientnet_lite0"],
        method="finetune",
        image_size=128,
        regularisation_grid=[0.01, 1.0],
        finish=["temperature"],
        feature_batch=16,
        plan="quick",
        phases=["all epochs=6"],
        validation_share=0.0,
        tta_views=2,
    )


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[training]\nfolds = 6", "setting 'folds' belongs to [data], not to [training]"),
        ("[training]\nviews = ['plain']", "setting 'views' belongs to [features], not to [training]"),
        ("[data]\nfold = 6", "no setting called 'fold': did you mean 'folds'?"),
        ("[dta]\nfolds = 6", "no setting called 'dta': did you mean 'data'?"),
        ("data = 6", "no setting called 'data'"),
        ("folds = 6\n[data]\nfolds = 7", "setting 'folds' is given twice: leave one out"),
        ("tta = 6\n[finish]\ntta_views = 7", "tta and tta_views are one setting: leave one out"),
        ("tta_views = 6\n[finish]\ntta = 7", "tta and tta_views are one setting: leave one out"),
        ("[schedule]\nrecipes = 'quick'", "no setting called 'recipes': did you mean 'plan'?"),
        ("[finish]\nfinish = 'all'", "setting finish = 'all': must be one of temperature, clip"),
        ("[data.folds]\nx = 1", "folds = {'x': 1}: must be int, not dict"),
    ],
)
def test_a_section_that_cannot_be_is_refused(toml: str, words: str, tmp_path: Path) -> None:
    message = refused(tmp_path, toml)
    assert words in message
    assert str(tmp_path / "recipe.toml") in message


def test_a_setting_that_is_typed_by_both_its_names_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, tta="1", tta_views="2")
    assert message == "the command line: tta and tta_views are one setting: leave one out."


@pytest.mark.parametrize("name", ["plan", "recipe"])
def test_an_assignment_replaces_an_option_by_either_of_its_names(name: str, tmp_path: Path) -> None:
    chosen = options.settings([f"{name}=ladder"], plan="quick", folds=3)
    assert chosen == {"folds": 3, name: "ladder"}
    assert resolved(tmp_path, **chosen).schedule.plan == "ladder"


@pytest.mark.parametrize("setting", recipe.TYPES)
def test_every_setting_has_a_sentence(setting: str) -> None:
    assert recipe.meanings()[setting].endswith(".")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("folds=10", ("folds", "10")),
        (" image-size = 224 ", ("image_size", "224")),
        ("backbone=a=b.onnx", ("backbone", "a=b.onnx")),
        ("finish=", ("finish", "")),
    ],
)
def test_an_assignment_is_split_at_its_first_equals_sign(text: str, pair: tuple[str, str]) -> None:
    assert recipe.parse_assignment(text) == pair


@pytest.mark.parametrize("text", ["folds", "=10", " = 10", ""])
def test_what_is_no_assignment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe.parse_assignment(text)
    assert repr(text) in str(caught.value)
    assert "--set folds=10" in str(caught.value)
