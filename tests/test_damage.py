"""Damaged archives, layouts, settings and plugins: each ends in one line, and nothing of the user's is touched.

Everything goes through the command line, on small drawn competitions.
"""

from __future__ import annotations

import io
import shutil
import stat
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from kagglekit.data import archives
from tests import drawing
from tests.conftest import Cli, succeeded
from tests.damage import (
    PETS,
    Given,
    only_run,
    refused,
    unchanged,
    write,
)

# archives


def edited(content: bytes, change: Callable[[zipfile.ZipFile], None]) -> bytes:
    """Return the archive with one more member, or one that is described otherwise."""
    buffer = io.BytesIO(content)
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of duplicates
        change(archive)
    return buffer.getvalue()


def add_link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("train/cat.99.jpg")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


ARCHIVES: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "cut in the middle": (lambda whole: whole[: len(whole) // 2], ("dogs.zip is not a whole zip", "download it again")),
    "cut at the end": (lambda whole: whole[:-30], ("dogs.zip is not a whole zip archive", "download it again")),
    "nothing in it": (lambda whole: b"", ("dogs.zip is not a whole zip archive", "download it again")),
    "damaged inside": (
        lambda whole: whole[: len(whole) // 2] + bytes(99) + whole[len(whole) // 2 + 99 :],
        ("dogs.zip: member 'train.zip' is damaged", "download it again"),
    ),
    "web page": (
        lambda whole: b"<!DOCTYPE html><html>Sign in</html>",
        ("dogs.zip is a web page", "download it again while logged in"),
    ),
    "bomb": (
        lambda whole: edited(whole, lambda archive: archive.writestr("zeros.bin", bytes(2**26))),
        ("dogs.zip would unpack to 67", "looks like a zip bomb", "nothing was unpacked"),
    ),
    "name that leads out": (
        lambda whole: edited(whole, lambda archive: archive.writestr("../../evil.txt", "evil")),
        ("dogs.zip: member '../../evil.txt' leads out of the data folder", "nothing was unpacked"),
    ),
    "absolute name": (
        lambda whole: edited(whole, lambda archive: archive.writestr("/no-such-folder/evil.txt", "evil")),
        ("dogs.zip: member '/no-such-folder/evil.txt' has an absolute name", "nothing was unpacked"),
    ),
    "link": (
        lambda whole: edited(whole, add_link),
        ("dogs.zip: member 'train/cat.99.jpg' is a link", "nothing was unpacked"),
    ),
    "two members of one name": (
        lambda whole: edited(whole, lambda archive: archive.writestr("train.zip", "evil")),
        ("dogs.zip has two members called 'train.zip'", "nothing was unpacked"),
    ),
}


@pytest.mark.parametrize("damage", ARCHIVES)
def test_an_archive_that_is_broken_or_evil_is_refused_and_nothing_is_unpacked(
    cli: Cli, tiny: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 2**20)
    break_, words = ARCHIVES[damage]
    archive = drawing.dogs(tmp_path / "given")
    (tmp_path / "given" / "part.zip").unlink()
    archive.write_bytes(break_(archive.read_bytes()))
    with unchanged(tmp_path):
        refused(cli("run", "dogs-vs-cats", "--data", archive, "--backbone", tiny), *words)
    assert [path for path in (home / "dogs-vs-cats").rglob("*") if path.is_file() and path.suffix != ".lock"] == []


# the layout

Damage = Callable[[Path], object]


def removed(*names: str) -> Damage:
    def remove(data: Path) -> None:
        for name in names:
            shutil.rmtree(data / name)

    return remove


def emptied(name: str) -> Damage:
    def empty(data: Path) -> None:
        shutil.rmtree(data / name)
        (data / name).mkdir()

    return empty


def added(name: str, content: bytes = drawing.image(3, 999)) -> Damage:
    return lambda data: write(data, {name: content})


def appended(name: str, text: str) -> Damage:
    return lambda data: (data / name).write_text((data / name).read_text() + text)


SAMPLE = "sample_submission.csv"
PETS_DAMAGE: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "missing class folder": (removed("train/dog"), ("no training image of class 'dog'", "download the data again")),
    "empty class folder": (emptied("train/dog"), ("no training image of class 'dog'", "download the data again")),
    "unknown class folder": (added("train/horse/1.jpg"), ("label 'horse' is not one of the classes ['cat', 'dog']",)),
    "no training image": (emptied("train"), ("no training image of pets there", "train/{label}", "Name the archive")),
    "image outside the class folders": (added("train/7.jpg"), ("'train/7.jpg'", "move them out of the folder")),
    "empty test folder": (emptied("test"), ("has no test images", "looked for test/{id}.jpg")),
    "no test folder": (removed("test"), ("has no test images", "looked for test/{id}.jpg")),
    "two test images with one id": (added("test/1.JPG"), ("two images have the id '1'", "test/1.JPG", "test/1.jpg")),
    "sample of other ids": (
        added(SAMPLE, b"id,label\nx1,0.5\nx2,0.5\n"),
        ("lists 2 ids, for example 'x1', but only 0 of them", "look like '0'", "is the data complete"),
    ),
    "sample with other columns": (
        added(SAMPLE, b"id,probability\n0,0.5\n"),
        ("has the columns id, probability", "format has id, label", "make the two agree"),
    ),
    "sample with a hundred other columns": (
        added(SAMPLE, f"id,{','.join(f'species_{n}' for n in range(99))}\n0{',0.01' * 99}\n".encode()),
        ("has the columns id, species_0, ", "species_6 and 92 more", "format has id, label"),
    ),
    "sample with an id twice": (
        added(SAMPLE, b"id,label\n0,0.5\n1,0.5\n0,1\n"),
        (f"{SAMPLE} has id '0' twice", "download"),
    ),
    "sample without rows": (added(SAMPLE, b"id,label\n"), (SAMPLE, "download")),
    "empty sample": (added(SAMPLE, b""), (SAMPLE, "can't be read as CSV", "download it again")),
    "sample in no encoding": (added(SAMPLE, b"id,label\n\x81,0.5\n"), (SAMPLE, "can't be read as CSV", "in UTF-8")),
}
LEAF_DAMAGE: dict[str, tuple[Damage, tuple[str, ...]]] = {
    "image without a label": (added("train/L99.png"), ("1 training images have no row in labels.csv", "'L99'")),
    "label without an image": (appended("labels.csv", "L99,oak\n"), ("1 rows of labels.csv have no image", "'L99'")),
    "two labels of one image": (appended("labels.csv", "L3,oak\n"), ("labels.csv has 'L3' twice in column 'leaf'",)),
    "one label twice": (appended("labels.csv", "L3.png,elm\n"), ("labels.csv has 'L3' and 'L3.png' for one image",)),
    "unknown label": (
        lambda data: added("labels.csv", (data / "labels.csv").read_bytes().replace(b"L3,elm", b"L3,fir"))(data),
        ("label 'fir' is not one of the classes ['oak', 'elm']",),
    ),
    "image without a group": (added("plants.csv", b"leaf,plant\nL0,P1\n"), ("have no group in plants.csv", "'L1'")),
    "no labels": (added("labels.csv", b""), ("labels.csv", "can't be read as CSV", "download it again")),
}


@pytest.mark.parametrize("damage", PETS_DAMAGE)
def test_folders_that_do_not_fit_are_one_line(cli: Cli, tiny: str, pets: Given, home: Path, damage: str) -> None:
    break_, words = PETS_DAMAGE[damage]
    break_(pets.data)
    refused(pets.run(cli, tiny), *words)
    assert list(home.rglob("submission.csv")) == []


@pytest.mark.parametrize("damage", LEAF_DAMAGE)
def test_tables_that_do_not_fit_are_one_line(cli: Cli, tiny: str, leaf: Given, damage: str) -> None:
    break_, words = LEAF_DAMAGE[damage]
    break_(leaf.data)
    refused(leaf.run(cli, tiny), *words)


@pytest.mark.parametrize("damage", [removed("train/dog"), emptied("train"), emptied("train/cat")])
def test_a_folder_of_one_class_is_no_competition(cli: Cli, tiny: str, pets: Given, damage: Damage) -> None:
    damage(pets.data)
    with unchanged(pets.data):
        done = cli("run", pets.data, "--backbone", tiny)
    refused(done, str(pets.data), "two classes or more", "kagglekit new")


def test_a_folder_without_test_images_says_what_is_missing_in_a_line_that_can_be_read(
    cli: Cli, tiny: str, pets: Given
) -> None:
    emptied("test")(pets.data)
    with unchanged(pets.data):
        done = cli("run", pets.data, "--backbone", tiny)
    assert len(refused(done, str(pets.data), "has no test images")) < 400


def test_ids_without_a_test_image_get_the_prior_and_images_without_an_id_no_row(
    cli: Cli, tiny: str, pets: Given, home: Path
) -> None:
    added(SAMPLE, b"id,label\n2,0.5\n77,0.5\n0,0.5\n")(pets.data)
    done = succeeded(pets.run(cli, tiny))
    assert "WARNING: 1 ids of the sample submission have no test image" in done.out
    assert "2 test images are not in the sample submission" in done.out
    submission = pd.read_csv(only_run(home / "pets") / "submission.csv")
    assert submission["id"].tolist() == [2, 77, 0]
    assert submission["label"][1] == pytest.approx(0.5)
    assert (submission["label"] < 0.4).tolist() == [True, False, True]


def test_one_group_that_spans_everything_is_not_blamed_on_the_folds(cli: Cli, tiny: str, leaf: Given) -> None:
    added("plants.csv", b"leaf,plant\n" + b"".join(b"L%d,P7\n" % n for n in range(12)))(leaf.data)
    assert "fewer folds" not in refused(leaf.run(cli, tiny), "group", "P7")


def test_one_image_of_a_class_is_not_blamed_on_the_folds(cli: Cli, tiny: str, pets: Given) -> None:
    for path in sorted((pets.data / "train" / "dog").iterdir())[1:]:
        path.unlink()
    assert "fewer folds" not in refused(pets.run(cli, tiny), "class 'dog' has only one readable training image")


# settings


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fold=3", "no setting called 'fold': did you mean 'folds'?"),
        ("zzzzzz=1", "no setting called 'zzzzzz': `kagglekit info NAME` lists all"),
        ("folds=many", "setting folds = 'many': must be an integer"),
        ("folds=2.5", "setting folds = '2.5': must be an integer"),
        ("folds=1", "setting folds = 1: it must be 2 or more"),
        ("head=svm", "setting head = 'svm': must be one of auto, logistic, mlp"),
        ("regularisation_grid=0.1,x", "setting regularisation_grid = '0.1,x': must be a number"),
        ("folds", "--set 'folds': write it as key=value"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(cli: Cli, tiny: str, pets: Given, setting: str, words: str) -> None:
    refused(pets.run(cli, tiny, "--set", setting), words)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (b"fold = 3", "no setting called 'fold': did you mean 'folds'?"),
        (b"[settings]\nfolds = 3", "no setting called 'settings'"),
        (b"crop = 3", "setting crop = 3: must be one of model, centre, squash"),
        (b"seed = 2.5", "setting seed = 2.5: must be int, not float"),
        (b"regularisation_grid = 0.1", "setting regularisation_grid = 0.1: must be a list"),
        (b"feature_views = [1]", "setting feature_views = [1]: must be one of plain, mirror"),
        (b"seed = ", "is not valid TOML"),
        (b"seed = 1\nseed = 2", "is not valid TOML"),
        (b"head = mlp", "is not valid TOML"),
        (b"head = '\xff'", "is not valid TOML"),
    ],
)
def test_a_recipe_file_that_cannot_be_is_one_line_that_names_it(
    cli: Cli, tiny: str, pets: Given, home: Path, toml: bytes, words: str
) -> None:
    path = write(home / "pets", {"recipe.toml": toml}) / "recipe.toml"
    refused(pets.run(cli, tiny), str(path), words)
    assert path.read_bytes() == toml


# plugins

AT_IMPORT = {
    "missing package": ("import a_package_that_nobody_has", "ModuleNotFoundError: No module named"),
    "syntax": ("def competition(:", "SyntaxError: "),
    "error of two lines": ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    "attribute": ("import kagglekit\nkagglekit.nothing", "AttributeError: "),
    "end of the program": ("raise SystemExit", "SystemExit"),
}


@pytest.mark.parametrize("source", AT_IMPORT)
def test_a_plugin_that_raises_at_import_is_one_line_and_breaks_nothing_else(
    cli: Cli, tiny: str, pets: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    text, words = AT_IMPORT[source]
    pets.plugin.write_text(text)
    refused(pets.run(cli, tiny), f"plugin '{pets.plugin}' can't be imported: {words}")
    installed = write(
        tmp_path / "installed",
        {
            "broken_leaf.py": text.encode(),
            "broken_leaf-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: broken-leaf\nVersion: 1.2\n",
            "broken_leaf-1.2.dist-info/entry_points.txt": b"[kagglekit.competitions]\nbroken = broken_leaf\n",
        },
    )
    monkeypatch.syspath_prepend(installed)
    monkeypatch.delitem(sys.modules, "broken_leaf", raising=False)
    refused(cli("run", "broken"), f"plugin 'broken' can't be imported: {words}")
    listed = succeeded(cli("list")).out
    assert "broken " in listed
    assert "dogs-vs-cats " in listed
    assert "driver_imgs_list.csv" in succeeded(cli("info", "state-farm")).out


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("train_tabel", "hook 'train_tabel' does not exist, did you mean 'train_table'?"),
        (
            "xyzzy",
            "hook 'xyzzy' does not exist; hooks are competition, recipe, search_space, augmentations, train_table",
        ),
    ],
)
def test_a_misspelt_hook_is_one_line_that_names_the_nearest(
    cli: Cli, tiny: str, pets: Given, hook: str, words: str
) -> None:
    pets.write_plugin(PETS, f"\n\n@hookimpl\ndef {hook}():\n    return {{}}\n")
    refused(pets.run(cli, tiny), f"plugin '{pets.plugin}': {words}")


TABLE = """
def table(files):
    rows = [(p[6:-4], str(f), p.split("/")[1]) for p, f in files.paths.items() if p.startswith("train/")]
    return pd.DataFrame(rows, columns=["id", "path", "label"])

"""
ARGUMENTS = {"competition": "", "recipe": "", "train_table": "files", "test_table": "files", "submission": "ids"}
NONSENSE = [
    ("competition", "None", "has no hook 'competition' that returns a Competition"),
    ("competition", "{'name': 'pets'}", "hook 'competition': returned dict"),
    ("competition", "Competition(name='pets')", "hook 'competition': Competition.__init__() missing"),
    ("competition", "Competition(nam='pets')", "unexpected keyword argument 'nam'"),
    ("recipe", "['folds']", "hook 'recipe': returned list (['folds']), not"),
    ("recipe", "{'fold': 3}", "hook 'recipe': no setting called 'fold': did you mean 'folds'?"),
    ("recipe", "{'folds': {'a': 1}}", "hook 'recipe': setting folds = {'a': 1}: must be int"),
    ("recipe", "{5: 3}", "hook 'recipe': no setting called 5"),
    ("train_table", "[1, 2]", "hook 'train_table': returned list ([1, 2]), not DataFrame"),
    ("train_table", "table(files)[:0]", "hook 'train_table': the table has no rows"),
    ("train_table", "table(files).T", "hook 'train_table': the table has no column 'id'"),
    ("train_table", "table(files).assign(id='1')", "hook 'train_table': two images have the id '1'"),
    ("train_table", "table(files).assign(label='cow')", "label 'cow' is not one of the classes ['cat', 'dog']"),
    ("train_table", "table(files).assign(label=1)", "hook 'train_table': column 'label' must hold strings"),
    ("train_table", "table(files).assign(path=Path())", "hook 'train_table': column 'path' must hold strings"),
    ("train_table", "table(files).assign(path='/nowhere.jpg')", "/nowhere.jpg: it can't be read: No such file"),
    ("train_table", "table(files).assign(path='a\\0b')", "can't be read"),
    ("train_table", "table(files).assign(group=[1, 'a'] * 6)", "hook 'train_table': column 'group'"),
    ("train_table", "table(files).assign(valid='no')", "hook 'train_table': column 'valid'"),
    ("train_table", "pd.concat([table(files)] * 2, axis=1)", "hook 'train_table': "),
    ("test_table", "'text\\n' * 99", "hook 'test_table': returned str ('text\\ntext"),
    ("test_table", "pd.DataFrame({'id': [1], 'path': ['/a.jpg']})", "hook 'test_table': column 'id' must hold strings"),
    ("test_table", "pd.DataFrame({'id': ['1']})", "hook 'test_table': the table has no column 'path'"),
    ("submission", "np.ones(4)", "hook 'submission': returned ndarray"),
    ("submission", "pd.DataFrame({'id': ids, 'label': np.nan})", "('0', '1', '2', …) hold no number"),
    ("submission", "pd.DataFrame({'id': ids, 'label': 7.0})", "('0', '1', '2', …) are outside 0 to 1"),
    ("submission", "pd.DataFrame({'id': ids, 'label': '0.5'})", "columns ['label'] must hold numbers"),
    ("submission", "pd.DataFrame({'id': ids, 'label': 0.5j})", "columns ['label'] must hold numbers"),
    ("submission", "pd.DataFrame({'id': ids[1:], 'label': 0.5})", "1 ids ('0') missing"),
    ("submission", "pd.DataFrame({'id': ids * 2, 'label': 0.5})", "more than once"),
    ("submission", "pd.DataFrame({'id': ids, 0: 0.5})", "its columns are ['id', 0], not ['id', 'label']"),
]


@pytest.mark.parametrize(("hook", "value", "words"), NONSENSE)
def test_a_hook_that_returns_nonsense_is_one_line(
    cli: Cli, tiny: str, pets: Given, home: Path, hook: str, value: str, words: str
) -> None:
    described = "" if hook == "competition" else PETS
    body = f"\n\n@hookimpl\ndef {hook}({ARGUMENTS[hook]}):\n    return {value}\n"
    pets.write_plugin("from pathlib import Path\n", TABLE, described, body)
    refused(pets.run(cli, tiny), words)
    assert list(home.rglob("submission.csv")) == []
