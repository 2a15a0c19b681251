"""Labels in JSON files, as COCO has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kagglekit import ClassLabel, CocoIds, CocoLabels, Competition, TopClasses
from tests.gallery import answers
from tests.gallery.layouts import Image, Layout, coco, others
from tests.gallery.running import Row

SPECIES = ("0", "3", "105", "15504")


def herbarium_2019() -> Competition:
    """Name the species of a pressed plant."""
    return Competition(
        name="herbarium-2019",
        kaggle="herbarium-2019-fgvc6",
        train=CocoLabels("train.json", images="train/{file_name}"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Predicted"),
        metric="f1(macro)",
    )


def herbarium_2020() -> Competition:
    """Name the species of a pressed plant; 32,094 of them."""
    return Competition(
        name="herbarium-2020",
        kaggle="herbarium-2020-fgvc7",
        train=CocoLabels("nybg2020/train/metadata.json", images="nybg2020/train/{file_name/}"),
        test="nybg2020/test/images/{folder}/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Predicted"),
        metric="f1(macro)",
        leaderboard={"gold": 0.63151, "silver": 0.2805, "bronze": 0.05334, "median": 0.05334},
    )


def herbarium_2021() -> Competition:
    """Name the species of a pressed plant; 64,500 of them."""
    return Competition(
        name="herbarium-2021",
        kaggle="herbarium-2021-fgvc8",
        train=CocoLabels("train/metadata.json", images="train/{file_name/}"),
        test="test/images/{folder}/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Predicted"),
        metric="f1(macro)",
        leaderboard={"gold": 0.54332, "silver": 0.41067, "bronze": 0.13026, "median": 0.05155},
    )


def herbarium_2022() -> Competition:
    """Name the species of a pressed plant. Test ids are those of a JSON file."""
    return Competition(
        name="herbarium-2022",
        kaggle="herbarium-2022-fgvc9",
        train=CocoLabels("train_metadata.json", images="train_images/{file_name/}"),
        test=CocoIds("test_metadata.json", images="test_images/{file_name/}"),
        flip="allowed",
        submission=ClassLabel(id="Id", label="Predicted"),
        metric="f1(macro)",
        leaderboard={"gold": 0.84602, "silver": 0.75373, "bronze": 0.5965, "median": 0.22549},
    )


def inaturalist_2018() -> Competition:
    """Name the species in three guesses. The images of a validation set are in the same folders."""
    return Competition(
        name="inaturalist-2018",
        kaggle="inaturalist-2018",
        train=CocoLabels("train2018.json", images="train_val2018/{file_name/}", only_listed=True),
        test=CocoIds("test2018.json", images="test2018/{file_name}"),
        flip="allowed",
        submission=TopClasses(label="predicted", k=3, sample=("kaggle_sample_submission.csv",)),
        metric="top_error@3",
    )


def inaturalist_2019() -> Competition:
    """Name the species. The images of a validation set are in the same folders."""
    return Competition(
        name="inaturalist-2019",
        kaggle="inaturalist-2019-fgvc6",
        train=CocoLabels(
            "train2019.json",
            images="train_val2019/{file_name/}",
            also=("{file_name/}",),  # MLE-bench packs the images without their upper folder
            only_listed=True,
        ),
        test=CocoIds("test2019.json", images="test2019/{file_name}"),
        flip="allowed",
        submission=ClassLabel(label="predicted", sample=("kaggle_sample_submission.csv",)),
        metric="top_error@1",
        leaderboard={"gold": 0.15955, "silver": 0.26058, "bronze": 0.39028, "median": 0.43478},
    )


def iwildcam_2020() -> Competition:
    """Name the animal in front of a camera trap. Folds never split a place."""
    return Competition(
        name="iwildcam-2020",
        kaggle="iwildcam-2020-fgvc7",
        train=CocoLabels("iwildcam2020_train_annotations.json", images="train/{file_name}", group="location"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(id="Id", label="Category"),
        metric="accuracy",
        leaderboard={"gold": 0.778, "silver": 0.688, "bronze": 0.594, "median": 0.524},
    )


def asked(test: Sequence[Image], file_name: str) -> dict[str, Any]:
    """Return what the JSON file of test images has."""
    return {"info": {}, "images": coco(test, (), file_name)["images"], "licenses": []}


def of_2020(train: Sequence[Image], test: Sequence[Image]) -> dict[str, bytes]:
    """Return files that are not UTF-8, and have folders of images in folders."""
    found = coco(train, SPECIES, "images/{label:0>3.3}/00/{n}.jpg")
    found["regions"] = [{"id": 0, "name": "Côte d'Ivoire"}]
    return {
        "nybg2020/train/metadata.json": json.dumps(found, ensure_ascii=False).encode("latin-1"),
        "nybg2020/test/metadata.json": json.dumps(asked(test, "images/000/{n}.jpg")).encode(),
    }


def of_2022(train: Sequence[Image], test: Sequence[Image]) -> dict[str, str]:
    """Return files with keys of their own. Test ids are numbers, and not in the names of the images."""
    found = {
        "annotations": [{"genus_id": 1, "category_id": int(one.label), "image_id": one.id} for one in train],
        "images": [{"image_id": one.id, "file_name": f"000/00/{one.id}.jpg", "license": 1} for one in train],
        "categories": [{"category_id": int(name), "scientificName": f"Abies {name}"} for name in SPECIES],
        "genera": [{"genus_id": 1, "genus": "Abies"}],
    }
    listed = [{"image_id": str(one.n), "file_name": f"000/test-{one.n:06d}.jpg", "license": 1} for one in test]
    return {"train_metadata.json": json.dumps(found), "test_metadata.json": json.dumps(listed)}


def inaturalist(
    year: int, train: Sequence[Image], test: Sequence[Image], name: str, test_name: str
) -> dict[str, bytes | str]:
    """Return the files of a year, and an image of its validation set."""
    own = Image(n=0, id="000000", label="3", g=0, hot="")
    return {
        f"train{year}.json": json.dumps(coco(train, SPECIES, name)),
        f"val{year}.json": json.dumps(coco([own], SPECIES, name)),
        f"test{year}.json": json.dumps(asked(test, test_name)),
        **others(own.fill(name)),
    }


ROWS = {
    "herbarium-2019-fgvc6": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            first_test=1,
            train="train/{n}.jpg",
            test="test/{n}.jpg",
            sample="Id,Predicted\n{id},0",
            more=lambda train, test: {
                "train.json": json.dumps(coco(train, SPECIES, "{n}.jpg")),
                "test.json": json.dumps(asked(test, "{n}.jpg")),
            },
            packed={"train.tar.gz": "train/", "test.tar.gz": "test/"},
        ),
        herbarium_2019,
    ),
    "herbarium-2020-fgvc7": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            first=354106,
            first_test=1,
            train="nybg2020/train/images/{label:0>3.3}/00/{n}.jpg",
            test="nybg2020/test/images/000/{n}.jpg",
            sample="Id,Predicted\n{id},0",
            more=of_2020,
        ),
        herbarium_2020,
    ),
    "herbarium-2021-fgvc8": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            first=1814367,
            first_test=1,
            train="train/images/{label:0>3.3}/00/{n}.jpg",
            test="test/images/000/{n}.jpg",
            sample="Id,Predicted\n{id},0",
            more=lambda train, test: {
                "train/metadata.json": json.dumps(coco(train, SPECIES, "images/{label:0>3.3}/00/{n}.jpg")),
                "test/metadata.json": json.dumps(asked(test, "images/000/{n}.jpg")),
            },
        ),
        herbarium_2021,
    ),
    "herbarium-2022-fgvc9": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            id="{label:0>5}__{n:03d}",
            test_id="{n}",
            first_test=1,
            train="train_images/000/00/{id}.jpg",
            test="test_images/000/test-{n:06d}.jpg",
            sample="Id,Predicted\n{id},3",
            more=of_2022,
        ),
        herbarium_2022,
    ),
    "inaturalist-2018": Row(
        Layout(
            answer=answers.Best(SPECIES, k=3),
            labels=SPECIES,
            id="{n:032x}",
            test_id="{n}",
            train="train_val2018/Plantae/{label}/{id}.jpg",
            test="test2018/{n:032x}.jpg",
            sample="id,predicted\n{id},0 3 105",
            sample_name="kaggle_sample_submission.csv",
            more=lambda train, test: inaturalist(
                2018, train, test, "train_val2018/Plantae/{label}/{id}.jpg", "test2018/{n:032x}.jpg"
            ),
            packed={"train_val2018.tar.gz": "train_val2018/", "test2018.tar.gz": "test2018/"},
        ),
        inaturalist_2018,
    ),
    "inaturalist-2019-fgvc6": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            id="{n:032x}",
            test_id="{n}",
            train="train_val2019/Plants/{label}/{id}.jpg",
            test="test2019/{n:032x}.jpg",
            sample="id,predicted\n{id},3",
            sample_name="kaggle_sample_submission.csv",
            more=lambda train, test: inaturalist(
                2019, train, test, "train_val2019/Plants/{label}/{id}.jpg", "test2019/{n:032x}.jpg"
            ),
            packed={"train_val2019.tar.gz": "train_val2019/", "test2019.tar.gz": "test2019/"},
        ),
        inaturalist_2019,
    ),
    "iwildcam-2020-fgvc7": Row(
        Layout(
            answer=answers.Name(SPECIES),
            labels=SPECIES,
            each=4,
            id="8792549a-21bc-11ea-a13a-{n:012x}",
            train="train/{id}.jpg",
            test="test/{id}.jpg",
            sample="Id,Category\n{id},3",
            more=lambda train, test: {
                "iwildcam2020_train_annotations.json": json.dumps(
                    coco(train, (*SPECIES, "672"), "{id}.jpg", key="{id}", location="{g}", seq_id="s{n}")
                ),
                "iwildcam2020_test_information.json": json.dumps(asked(test, "{id}.jpg")),
                "iwildcam2020_megadetector_results.json": json.dumps({"images": [], "detection_categories": {}}),
            },
        ),
        iwildcam_2020,
    ),
}
