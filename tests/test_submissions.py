"""Submissions: every id gets its own row, and what Kaggle would refuse is refused first."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit.base.errors import UserError
from kagglekit.competitions import samples, submissions
from kagglekit.competitions.competition import Competition
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.competitions.locations import FilenameLabels
from kagglekit.formats import ClassLabel, OwnFormat, Probability, ProbabilityPerClass

PETS = {"cat": "cat", "dog": "dog"}
FARM = {"c0": "safe", "c1": "texting", "c2": "phone"}
IDS = ["1", "2", "10"]
THREE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])


def competition(submission: Any, classes: dict[str, str]) -> Competition:
    return Competition(
        name="leaf",
        kaggle="leaf",
        classes=classes,
        train=FilenameLabels("train/{label}.{number}.jpg"),
        test="test/{id}.jpg",
        submission=submission,
    )


ONE = competition(Probability(of="dog"), PETS)
EACH = competition(ProbabilityPerClass(id="img"), FARM)
CLASS = competition(ClassLabel(id="image", label="kind"), FARM)


def sample(**columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="str")


def laid_out(
    described: Competition, probabilities: np.ndarray, asked: pd.DataFrame | None = None, ids: Sequence[str] = IDS
) -> pd.DataFrame:
    """Lay out and check."""
    frame = submissions.lay_out(described, ids, probabilities, asked)
    submissions.check(frame, described, submissions.expected_ids(described, ids, asked))
    return frame


def test_one_probability_is_that_of_its_class() -> None:
    frame = laid_out(ONE, np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
    assert frame.to_dict("list") == {"id": IDS, "label": [0.1, 0.8, 0.5]}


def test_one_probability_may_be_that_of_the_first_class() -> None:
    described = competition(Probability(of="cat", id="image", label="is_cat"), PETS)
    frame = laid_out(described, np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
    assert frame.to_dict("list") == {"image": IDS, "is_cat": [0.9, 0.2, 0.5]}


def test_a_probability_per_class_is_in_the_order_of_classes() -> None:
    frame = laid_out(EACH, THREE)
    assert list(frame.columns) == ["img", "c0", "c1", "c2"]
    assert frame[["c0", "c1", "c2"]].to_numpy().tolist() == THREE.tolist()


def test_a_class_is_the_most_probable_one() -> None:
    assert laid_out(CLASS, THREE).to_dict("list") == {"image": IDS, "kind": ["c0", "c1", "c2"]}


@pytest.mark.parametrize("described", [ONE, EACH, CLASS])
def test_the_sample_s_order_of_rows_and_columns_wins(described: Competition) -> None:
    probabilities = THREE if described is not ONE else np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    id_column, *others = described.submission.columns(described.target)
    asked = sample(**{name: ["0", "0"] for name in reversed(others)}, **{id_column: ["10", "1"]})
    frame = laid_out(described, probabilities, asked)
    assert list(frame.columns) == list(asked.columns)
    assert frame[id_column].tolist() == ["10", "1"]
    without = laid_out(described, probabilities).set_index(id_column)
    for name in others:
        assert frame[name].tolist() == without.loc[["10", "1"], name].tolist()


def test_ids_are_written_as_the_format_says() -> None:
    described = competition(ProbabilityPerClass(id="img", id_format="img_{id}.jpg"), FARM)
    assert submissions.written_id(described, "7") == "img_7.jpg"
    assert submissions.expected_ids(described, ["7", "8"], None) == ["img_7.jpg", "img_8.jpg"]


def test_the_sample_is_the_authority_for_ids() -> None:
    asked = sample(id=["010", "2"], label=["0.5", "0.5"])
    assert submissions.expected_ids(ONE, IDS, asked) == ["010", "2"]


FINE = {"img": IDS, "c0": [0.7, 0.1, 0.25], "c1": [0.2, 0.8, 0.25], "c2": [0.1, 0.1, 0.5]}


def refused(frame: pd.DataFrame, described: Competition = EACH, ids: Sequence[str] = IDS) -> str:
    with pytest.raises(UserError) as caught:
        submissions.check(frame, described, ids)
    message = str(caught.value)
    assert message.startswith("the submission was not written, Kaggle would refuse it: ")
    assert "\n" not in message
    return message


def test_what_is_fine_is_accepted_in_any_order_of_rows_and_columns() -> None:
    frame = pd.DataFrame(FINE)
    submissions.check(frame, EACH, IDS)
    submissions.check(frame.iloc[[2, 0, 1]][["c2", "img", "c0", "c1"]], EACH, IDS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"c2": None}, "its columns are ['img', 'c0', 'c1'], not ['img', 'c0', 'c1', 'c2']"),
        ({"c3": [0, 0, 0]}, "its columns are ['img', 'c0', 'c1', 'c2', 'c3']"),
        ({"img": ["1", "2", "2"]}, "1 ids ('2') more than once"),
        ({"img": ["1", "2", "3"]}, "1 ids ('10') missing"),
        ({"c0": [0.7, float("nan"), 0.25]}, "rows of 1 ids ('2') hold no number"),
        ({"c0": [0.7, None, 0.25]}, "rows of 1 ids ('2') hold no number"),
        ({"c1": [0.2, float("inf"), -float("inf")]}, "rows of 2 ids ('2', '10') hold no number"),
        ({"c0": [0.8, 0.1, 0.25], "c2": [0.0, 0.1, 1.5], "c1": [0.2, 0.8, -0.75]}, "1 ids ('10') are outside 0 to 1"),
        ({"c0": [0.7, 1.5, 0.25], "c1": [0.2, -0.6, 0.25]}, "rows of 1 ids ('2') are outside 0 to 1"),
        ({"c0": [0.7, 0.1, 0.26]}, "rows of 1 ids ('10') do not sum to 1"),
        ({"c0": [0.7, 0.1, 0.25 - 2e-6]}, "rows of 1 ids ('10') do not sum to 1"),
        ({"c0": ["0.7", "0.1", "0.25"]}, "must hold numbers"),
        ({"c0": ["much", "little", "some"]}, "must hold numbers"),
        ({"c0": [True, False, False]}, "must hold numbers"),
    ],
)
def test_what_kaggle_would_refuse_is_refused_and_the_rows_are_named(changes: dict[str, Any], words: str) -> None:
    columns = {name: values for name, values in (FINE | changes).items() if values is not None}
    assert words in refused(pd.DataFrame(columns))


def test_text_from_a_table_is_no_number() -> None:
    assert "must hold numbers" in refused(pd.DataFrame(FINE, dtype="str"))


def test_pandas_own_numbers_are_numbers_and_its_missing_value_is_none() -> None:
    frame = pd.DataFrame(FINE).convert_dtypes()
    submissions.check(frame, EACH, IDS)
    frame.loc[1, "c0"] = pd.NA
    assert "rows of 1 ids ('2') hold no number" in refused(frame)


def test_missing_rows_and_extra_rows_are_refused_and_named() -> None:
    assert "2 ids ('2', '10') missing" in refused(pd.DataFrame(FINE).head(1))
    assert "1 ids ('10') not in the test set" in refused(pd.DataFrame(FINE), ids=["1", "2"])
    assert "3 ids ('1', '2', '10') missing" in refused(pd.DataFrame(FINE).head(0))


def test_long_lists_of_ids_are_cut() -> None:
    ids = [str(number) for number in range(100)]
    assert "100 ids ('0', '1', '2', …) missing" in refused(pd.DataFrame(FINE).head(0), ids=ids)


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.concat([pd.DataFrame(FINE), pd.DataFrame({"c0": [0, 0, 0]})], axis=1)
    assert "its columns are" in refused(frame)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_one_probability_must_be_a_number_from_0_to_1(value: float) -> None:
    frame = pd.DataFrame({"id": IDS, "label": [0.5, value, 0.5]})
    assert "rows of 1 ids ('2')" in refused(frame, ONE)


@pytest.mark.parametrize("label", ["c9", "", None, "C0"])
def test_a_class_must_be_one_of_the_competition_s(label: str | None) -> None:
    frame = pd.DataFrame({"image": IDS, "kind": ["c0", label, "c1"]})
    what = "have no value" if label is None else "have no class of the competition"
    assert f"rows of 1 ids ('2') {what}" in refused(frame, CLASS)


def test_probabilities_that_sum_to_1_but_for_rounding_are_accepted() -> None:
    submissions.check(pd.DataFrame(FINE | {"c0": [0.7, 0.1, 0.25 + 5e-7]}), EACH, IDS)


def test_an_id_without_a_row_is_found_after_the_sample_s_order_was_taken() -> None:
    asked = sample(id=["1", "2", "99"], label=["0", "0", "0"])
    with pytest.raises(UserError, match=r"1 ids \('99'\) missing"):
        laid_out(ONE, np.full((3, 2), 0.5), asked)


def test_an_id_with_two_rows_is_found_after_the_sample_s_order_was_taken() -> None:
    asked = sample(id=["1", "2"], label=["0", "0"])
    with pytest.raises(UserError, match=r"1 ids \('2'\) more than once"):
        laid_out(ONE, np.full((3, 2), 0.5), asked, ids=["1", "2", "2"])


def read(folder: Path, content: str, described: Competition = ONE, name: str = "sample_submission.csv") -> Any:
    (folder / name).write_text(content, encoding="utf-8")
    return samples.read(described, DataFiles.from_folders([folder], "the data"))


@pytest.mark.parametrize("name", ["sample_submission.csv", "sampleSubmission.csv", "SAMPLE_SUBMISSION.CSV"])
def test_a_sample_is_read_as_text(name: str, tmp_path: Path) -> None:
    asked = read(tmp_path, "label,id\n0.50,007\n0.5,NA\n", name=name)
    assert asked.to_dict("list") == {"label": ["0.50", "0.5"], "id": ["007", "NA"]}


def test_no_sample_is_none(tmp_path: Path) -> None:
    assert samples.read(ONE, DataFiles.from_folders([tmp_path], "the data")) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,is_dog\n1,0.5\n", "has the columns id, is_dog; the plugin's submission format has id, label"),
        ("id\n1\n", "has the columns id;"),
        ("id,label,more\n1,0.5,x\n", "has the columns id, label, more;"),
        ("id,label\n1,0.5\n2,0.5\n1,0\n", "has id '1' twice"),
        ("", "can't be read as CSV"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    assert "sample_submission.csv" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "sample_submission_v2.csv",
        "submission_format.csv",
        "Sample_Submission_Stage_1.csv",
        "example-sub.csv",
        "SampleSub.csv",
    ],
)
def test_a_sample_of_another_name_is_found_by_its_columns(name: str, tmp_path: Path) -> None:
    asked = read(tmp_path, " id; label \n1;0.5\n", name=name)
    assert asked.to_dict("list") == {"id": ["1"], "label": ["0.5"]}
    (tmp_path / name).write_text("id,other\n1,0.5\n")
    assert samples.read(ONE, DataFiles.from_folders([tmp_path], "the data")) is None


def test_two_samples_of_other_names_are_not_chosen_between(tmp_path: Path) -> None:
    (tmp_path / "sample_submission_stage_2.csv").write_text("id,label\n1,0.5\n")
    with pytest.raises(UserError, match=r"sample_submission_stage_1.csv and sample_submission_stage_2.csv may each be"):
        read(tmp_path, "id,label\n1,0.5\n", name="sample_submission_stage_1.csv")
    assert len(read(tmp_path, "id,label\n1,0.5\n2,0.5\n")) == 2, "the declared name counts"


def test_labels_and_earlier_submissions_are_no_sample(tmp_path: Path) -> None:
    others = ("subject_information.csv", "sample_subjects.csv", "subset_example.csv", "submission_information.csv")
    for name in ("labels.csv", "submission.csv", "sample_images.csv", *others):
        assert read(tmp_path, "id,label\n1,dog\n", name=name) is None


def test_rows_of_a_sample_that_are_there_twice_are_submitted_twice(tmp_path: Path) -> None:
    (tmp_path / "sample_submission.csv").write_text("id,label\n1,0.5\n2,0.5\n1,0.5\n")
    files = DataFiles.from_folders([tmp_path], "the data")
    asked = samples.read(ONE, files)
    assert asked is not None
    assert files.remarks == ["sample_submission.csv has 1 rows twice: so has the submission"]
    ids = submissions.expected_ids(ONE, ["1", "2", "3"], asked)
    assert ids == ["1", "2"]
    frame = submissions.lay_out(ONE, ids, np.array([[0.9, 0.1], [0.2, 0.8]]), asked)
    assert frame["id"].tolist() == ["1", "2", "1"]
    submissions.check(frame, ONE, ids, sample=asked)
    for wrong, words in ((frame[:2], r"1 ids \('1'\) missing"), (pd.concat([frame, frame]), "'1'.* more than")):
        with pytest.raises(UserError, match=words):
            submissions.check(wrong, ONE, ids, sample=asked)


# a format of the plugin's own

OWN = competition(OwnFormat(id="img"), FARM)
MASKS = pd.DataFrame({"img": IDS, "pixels": ["1 3", "", "7 1"]})


def own_refused(frame: pd.DataFrame, asked: pd.DataFrame | None = None, described: Competition = OWN) -> str:
    with pytest.raises(submissions.RefusedError) as caught:
        submissions.check(frame, described, IDS, sample=asked)
    return caught.value.reason


def test_a_format_of_its_own_has_the_columns_and_ids_of_the_sample() -> None:
    submissions.check(MASKS, OWN, IDS)
    submissions.check(MASKS, OWN, ["other"], sample=sample(pixels=[""] * 3, img=IDS))
    assert (
        own_refused(MASKS, sample(img=IDS, mask=[""] * 3)) == "its columns are ['img', 'pixels'], not ['img', 'mask']"
    )
    assert own_refused(MASKS, sample(img=["1", "2"], pixels=["", ""])) == "1 ids ('10') not in the test set"
    assert own_refused(MASKS[1:]) == "1 ids ('1') missing"
    assert own_refused(pd.concat([MASKS, MASKS[:1]])) == "1 ids ('1') more than once"
    assert own_refused(MASKS[:0]) == "it has no rows"
    assert own_refused(MASKS.assign(pixels=[None, "", "1"])) == "column 'pixels' has missing values"
    assert own_refused(MASKS.rename(columns={"img": "image"})) == "its columns ['image', 'pixels'] have no 'img'"


def test_a_format_of_its_own_has_no_two_columns_of_one_name() -> None:
    twice = pd.concat([MASKS, MASKS[["pixels"]]], axis=1)
    assert own_refused(twice) == "two of its columns ['img', 'pixels', 'pixels'] have one name"


def test_a_format_of_its_own_may_have_any_rows_if_it_says_so() -> None:
    described = competition(OwnFormat(one_row_per_id=False), FARM)
    submissions.check(pd.concat([MASKS[1:], MASKS[1:]]), described, IDS, sample=sample(pixels=[""], img=["1"]))
    assert own_refused(MASKS.assign(pixels=np.nan), None, described) == "column 'pixels' has missing values"


def test_a_sample_in_a_format_of_its_own_may_list_other_things_than_images(tmp_path: Path) -> None:
    described = competition(OwnFormat(id="ImageId"), FARM)
    asked = read(tmp_path, "ImageId,pixels\n1,\n1,\n2,\n", described)
    assert len(asked) == 3
    assert submissions.expected_ids(described, IDS, asked) == ["1", "2"]
    asked = read(tmp_path, "ImageId,p\n1_cat,\n1_dog,\n2_cat,\n2_dog,\n", described)
    assert submissions.expected_ids(described, IDS, asked) == IDS
    with pytest.raises(UserError, match="has no column 'ImageId'; it has id, p"):
        read(tmp_path, "id,p\n1,\n", described)


IDENTIFIERS = st.lists(st.text("abcXYZ019_-./ ,\"'é", min_size=1, max_size=8), min_size=1, max_size=12, unique=True)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[list[str], np.ndarray, list[str]]:
    """Draw ids, a row of probabilities for each, and the ids in another order."""
    ids = draw(IDENTIFIERS)
    weights = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 1e-3)
    rows = np.array([draw(weights) for _ in ids])
    return ids, rows / rows.sum(axis=1, keepdims=True), draw(st.permutations(ids))


@settings(max_examples=60)
@given(predictions(), st.permutations(["img", "c0", "c1", "c2"]), st.booleans())
def test_each_id_gets_its_own_row_and_the_file_holds_every_bit(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[list[str], np.ndarray, list[str]],
    columns: list[str],
    has_sample: bool,
) -> None:
    ids, probabilities, order = drawn
    asked = sample(**{name: order if name == "img" else ["0"] * len(ids) for name in columns}) if has_sample else None
    path = tmp_path_factory.getbasetemp() / "submission.csv"
    submissions.write(laid_out(EACH, probabilities, asked, ids), path)
    with path.open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert [row["img"] for row in back] == (order if has_sample else ids)
    assert list(back[0]) == (columns if has_sample else ["img", "c0", "c1", "c2"])
    by_id = {row["img"]: [float(row[label]) for label in FARM] for row in back}
    assert by_id == dict(zip(ids, probabilities.tolist(), strict=True))


def test_a_file_is_replaced_whole_and_has_unix_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("an older one, longer than what replaces it", encoding="utf-8")
    submissions.write(pd.DataFrame({"id": ["1"], "label": [0.1 + 0.2]}), path)
    assert path.read_bytes() == b"id,label\n1,0.30000000000000004\n"
    assert list(tmp_path.iterdir()) == [path]
