"""The submissions of real archives: columns, ids and their spelling are those of the sample submission."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from kagglekit import (
    Classes,
    ClassLabel,
    Competition,
    FolderLabels,
    FromCsv,
    FromSample,
    Grades,
    JoinedLabels,
    Labels,
    Probability,
    ProbabilityPerClass,
)
from kagglekit.competitions import resolving, samples, submissions
from kagglekit.competitions.datafiles import DataFiles
from kagglekit.formats import Submission
from kagglekit.tasks.targets import Target
from tests.conftest import real_archive

pytestmark = pytest.mark.real

SEEDLINGS = (
    "Black-grass", "Charlock", "Cleavers", "Common Chickweed", "Common wheat", "Fat Hen", "Loose Silky-bent", "Maize",
    "Scentless Mayweed", "Shepherds Purse", "Small-flowered Cranesbill", "Sugar beet",
)  # fmt: skip
DOGS, DRIVERS = Classes(["cat", "dog"]), Classes([f"c{number}" for number in range(10)])
PALMS = Probability(of="1", id="image_id", label="has_oilpalm", id_format="{id}.jpg")
PLANET = FromCsv("train_v2.csv", "tags", sep=" ")
PLANTS = FromCsv("train.csv", "labels", sep=" ")

ARCHIVES: dict[str, tuple[Target, Submission, tuple[str, ...]]] = {
    "aptos2019-blindness-detection": (Grades(5), ClassLabel(id="id_code", label="diagnosis"), ("test_images/",)),
    "dogs-vs-cats-redux-kernels-edition": (DOGS, Probability(of="dog"), ("test/",)),
    "leaf-classification": (Classes(FromSample()), ProbabilityPerClass(), ("images/",)),
    "planet-understanding-the-amazon-from-space": (
        Labels(PLANET), JoinedLabels(id="image_name", label="tags"), ("test-jpg/",),
    ),
    "plant-pathology-2021-fgvc8": (
        Labels(PLANTS), JoinedLabels(id="image", label="labels", id_format="{id}.jpg"), ("test_images/",),
    ),
    "plant-seedlings-classification": (
        Classes(SEEDLINGS), ClassLabel(id="file", label="species", id_format="{id}.png"), ("test/",),
    ),
    "state-farm-distracted-driver-detection": (
        DRIVERS, ProbabilityPerClass(id="img", id_format="{id}.jpg"), ("imgs/test/",),
    ),
    "widsdatathon2019": (Classes(["0", "1"]), PALMS, ("leaderboard_test_data/", "leaderboard_holdout_data/")),
}  # fmt: skip


def unpacked(archive: zipfile.ZipFile, folder: Path) -> list[str]:
    """Write the tables of an archive, and those packed in it; return the paths of its images."""
    images = []
    for name in archive.namelist():
        if name.endswith(".csv"):
            (folder / name).write_bytes(archive.read(name))
        elif name.endswith(".zip"):
            images += unpacked(zipfile.ZipFile(io.BytesIO(archive.read(name))), folder)
        elif not name.endswith("/"):
            images.append(name)
    return images


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_submission_is_spelled_as_the_sample_is(name: str, tmp_path: Path) -> None:
    target, form, folders = ARCHIVES[name]
    images = unpacked(zipfile.ZipFile(real_archive(name)), tmp_path)
    files = DataFiles.from_folders([tmp_path], name)
    described = Competition(
        name="real", kaggle=name, target=target, train=FolderLabels("train/{label}"), test="test/{id}.jpg",
        submission=form,
    )  # fmt: skip
    described = resolving.resolve(described, files, lambda _: pytest.fail("the names are in the tables"))
    sample = samples.read(described, files)
    assert sample is not None
    ids = submissions.expected_ids(described, [], sample)

    tests = [PurePosixPath(image).stem for image in images if image.startswith(folders)]
    written = {submissions.written_id(described, test_id) for test_id in tests}
    assert set(ids) <= written if name.startswith("leaf") else set(ids) == written

    shape = (len(ids), len(described.labels))
    rows = np.random.default_rng(0).dirichlet(np.ones(shape[1]), shape[0])
    frame = submissions.lay_out(described, ids[::-1], rows, sample)
    submissions.check(frame, described, ids, sample=sample)
    assert list(frame.columns) == list(sample.columns)
    assert frame[form.id].tolist() == sample[form.id].tolist()
