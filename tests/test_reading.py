"""What a submission says, read back: the inverse of every format."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kagglekit import (
    ClassAndScore,
    ClassLabel,
    JoinedLabels,
    Long,
    OwnFormat,
    Probability,
    ProbabilityPerClass,
    TopClasses,
    Value,
    Values,
)
from kagglekit.competitions import submissions
from kagglekit.formats import Submission, reading
from kagglekit.formats.reading import Said
from kagglekit.tasks.targets import Target
from tests.test_formats import ANSWERS, GRADES, PAWS, PETS, SKY, TRAITS, WHALES, competition

RENAMED = {"new_whale": "none of them"}
EACH: list[tuple[Target, Submission]] = [
    (PETS, Probability(of="dog")),
    (PETS, Probability(of="cat", id_format="{id}.jpg")),
    (WHALES, ProbabilityPerClass(write=RENAMED)),
    (GRADES, ProbabilityPerClass()),
    (SKY, ProbabilityPerClass()),
    (ANSWERS, ProbabilityPerClass()),
    (PAWS, Value(label="paws")),
    (TRAITS, Values(write={"X4_mean": "first"})),
    (SKY, Long(write={"clear": "clear sky"})),
    (ANSWERS, Long(row="{label}-{id}", label="share")),
    (TRAITS, Long()),
    (WHALES, ClassLabel(write=RENAMED)),
    (GRADES, ClassLabel()),
    (WHALES, ClassAndScore()),
    (WHALES, TopClasses(k=3)),
    (SKY, TopClasses(k=2, sep=";")),
    (SKY, JoinedLabels()),
    (SKY, JoinedLabels(none="nothing", order="probability", sep=", ")),
]
DECIDED = (ClassLabel, ClassAndScore, TopClasses, JoinedLabels)


def predictions(target: Target, count: int, seed: int) -> Any:
    random = np.random.default_rng(seed)
    found = random.random((count, len(target.columns))) ** random.integers(1, 60)
    if target.exclusive:
        return found / found.sum(axis=1, keepdims=True)
    return 1 + 99 * found if target.predicts == "number" else found


def written(target: Target, form: Submission, values: Any, ids: list[str]) -> Said:
    """Write a submission to disk, in another order of rows, and read it back."""
    declared = competition(target, form)
    frame = submissions.lay_out(declared, ids, values, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        submissions.write(frame.iloc[::-1], path)
        return reading.read(form, target, submissions.parse(path.read_bytes()), ids)


@pytest.mark.parametrize(("target", "form"), EACH, ids=lambda value: type(value).__name__)
@settings(max_examples=10)
@given(count=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_a_submission_says_what_was_written(target: Target, form: Submission, count: int, seed: int) -> None:
    values = predictions(target, count, seed)
    ids = [submissions.written_id(competition(target, form), str(number)) for number in range(count)]
    said = written(target, form, values, ids)
    decided = form.usual(competition(target, form).task).apply(values)
    if isinstance(form, DECIDED):
        assert said.decided is not None
        assert np.array_equal(said.decided, decided)
        assert said.decided.dtype == decided.dtype
    else:
        assert said.decided is None
    if isinstance(form, Probability):
        place = target.columns.index(form.of)
        assert said.predictions is not None
        assert np.array_equal(said.predictions[:, place], values[:, place])
        assert np.allclose(said.predictions, values, rtol=0, atol=1e-15)
    elif isinstance(form, ClassAndScore):
        assert said.predictions is not None
        assert np.array_equal(said.predictions.max(axis=1), values.max(axis=1))
        assert np.array_equal(said.predictions.argmax(axis=1), decided)
    elif not isinstance(form, DECIDED):
        assert np.array_equal(said.predictions, values), "all digits"


def test_every_format_is_read_back() -> None:
    public = {each.__name__ for each in _below(Submission) if not each.__name__.startswith("_")}
    assert public - {OwnFormat.__name__} == {type(form).__name__ for _, form in EACH}


def _below(kind: type) -> list[type]:
    return [each for one in kind.__subclasses__() for each in (one, *_below(one))]


def test_rounded_numbers_are_those_that_are_submitted() -> None:
    values = np.array([[12.3456, 1.0], [7.0, 50.5]])
    said = written(TRAITS, Values(round=1), values, ["7", "8"])
    assert np.array_equal(said.predictions, [[12.3, 1.0], [7.0, 50.5]])


def test_one_of_several_labels_says_nothing_of_the_others() -> None:
    said = written(SKY, Probability(of="road"), np.array([[0.1, 0.2, 0.3]]), ["7"])
    assert said.predictions is not None
    assert np.isnan(said.predictions).tolist() == [[True, True, False]]


def test_an_own_format_is_not_read() -> None:
    with pytest.raises(ValueError, match="only the plugin knows"):
        reading.read(OwnFormat(), PETS, submissions.parse(b"id,x\n1,2\n"), ["1"])
