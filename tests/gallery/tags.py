"""All labels of an image in one cell."""

from __future__ import annotations

from kagglekit import Competition, CsvGroups, CsvIds, CsvLabels, FromCsv, FromTrain, JoinedLabels, Labels, Tags
from tests.gallery import answers
from tests.gallery.layouts import Layout
from tests.gallery.running import Row

ATTRIBUTES = tuple("0123456")
SETS = ("0", "1 2", "3", "0 4", "5", "2 6")
LAND = ("agriculture", "clear", "cloudy", "haze", "primary", "road", "water")
SEEN = ("clear primary", "agriculture haze road", "cloudy", "clear primary water", "haze primary", "clear road")
LEAVES = ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab")
FOUND = ("healthy", "scab frog_eye_leaf_spot complex", "rust", "powdery_mildew", "frog_eye_leaf_spot", "rust scab")


def imet_2020() -> Competition:
    """Name the culture and all things that a work of art shows."""
    return Competition(
        name="imet-2020",
        kaggle="imet-2020-fgvc7",
        target=Labels(FromCsv("labels.csv", "attribute_id", names="attribute_name")),
        train=CsvLabels("train.csv", images="train/{id}.png", id="id", label=Tags("attribute_ids")),
        test="test/{id}.png",
        flip="allowed",
        submission=JoinedLabels(label="attribute_ids"),
        metric="f1(micro)",
        leaderboard={"gold": 0.696, "silver": 0.649, "bronze": 0.649, "median": 0.627},
    )


def imet_2019() -> Competition:
    """Name the culture and all things that a work of art shows."""
    return Competition(
        name="imet-2019",
        kaggle="imet-2019-fgvc6",
        target=Labels(FromCsv("labels.csv", "attribute_id", names="attribute_name"), at_least_one=True),
        train=CsvLabels("train.csv", images="train/{id}.png", id="id", label=Tags("attribute_ids")),
        test="test/{id}.png",
        flip="allowed",
        submission=JoinedLabels(label="attribute_ids"),
        metric="fbeta(2, samples)",
    )


def yelp() -> Competition:
    """Say what a restaurant offers, from the photos of its guests."""
    return Competition(
        name="yelp",
        kaggle="yelp-restaurant-photo-classification",
        target=Labels(FromTrain()),
        train=CsvLabels(
            "train.csv", images="train_photos/{id}.jpg", id="business_id", label=Tags("labels"), per_group=True
        ),
        groups=CsvGroups("train_photo_to_biz_ids.csv", image="photo_id", group="business_id"),
        test=CsvIds("test_photo_to_biz.csv", images="test_photos/{id}.jpg", id="photo_id", group="business_id"),
        flip="allowed",
        submission=JoinedLabels(id="business_id", label="labels", per_group="mean"),
        metric="f1(samples)",
    )


def attributes(*_: object) -> dict[str, str]:
    """Return the names of attributes, one of which no image has."""
    rows = [f"{name},culture::{name}\n" for name in (*ATTRIBUTES, "7")]
    return {"labels.csv": "attribute_id,attribute_name\n" + "".join(rows)}


ROWS = {
    "imet-2020-fgvc7": Row(
        Layout(
            answer=answers.Tags((*ATTRIBUTES, "7")),
            labels=SETS,
            count=36,
            id="{n:032x}",
            train="train/{id}.png",
            test="test/{id}.png",
            tables={"train.csv": "id,attribute_ids\n{id},{label}"},
            sample="id,attribute_ids\n{id},0 1 2",
            more=attributes,
        ),
        imet_2020,
    ),
    "imet-2019-fgvc6": Row(
        Layout(
            answer=answers.Tags((*ATTRIBUTES, "7"), least=1),
            labels=SETS,
            count=36,
            id="{n:016x}",
            train="train/{id}.png",
            test="test/{id}.png",
            tables={"train.csv": "id,attribute_ids\n{id},{label}"},
            sample="id,attribute_ids\n{id},0 1 2",
            more=attributes,
            packed={"train.zip": "train/*", "test.zip": "test/*", "train.csv.zip": "train.csv"},
        ),
        imet_2019,
    ),
    "planet-understanding-the-amazon-from-space": Row(
        Layout(
            answer=answers.Tags(LAND, least=1),
            labels=SEEN,
            count=36,
            first=0,
            id="train_{n}",
            test_id=("test_{n}", "file_{n}"),
            train="train-jpg/{id}.jpg",
            test=("test-jpg/{id}.jpg", "test-jpg-additional/{id}.jpg"),
            tables={"train_v2.csv": "image_name,tags\n{id},{label}"},
            sample="image_name,tags\n{id},primary clear agriculture road water",
            sample_name="sample_submission_v2.csv",
            packed={
                "train-jpg.tar.7z": "train-jpg/",
                "test-jpg.tar.7z": "test-jpg/",
                "test-jpg-additional.tar.7z": "test-jpg-additional/",
                "train_v2.csv.zip": "train_v2.csv",
                "sample_submission_v2.csv.zip": "sample_submission_v2.csv",
            },
        )
    ),
    "plant-pathology-2021-fgvc8": Row(
        Layout(
            answer=answers.Tags(LEAVES, least=1),
            labels=FOUND,
            count=36,
            id="{n:016x}.jpg",
            train="train_images/{id}",
            test="test_images/{id}",
            tables={"train.csv": "image,labels\n{id},{label}"},
            sample="image,labels\n{id},healthy",
        )
    ),
    "yelp-restaurant-photo-classification": Row(
        Layout(
            answer=answers.Tags(ATTRIBUTES[:6]),
            labels=(*SETS[:5], ""),
            count=36,
            each=3,
            alike=True,
            train="train_photos/{id}.jpg",
            test="test_photos/{id}.jpg",
            tables={
                "train.csv": "business_id,labels\n{g},{label}",
                "train_photo_to_biz_ids.csv": "photo_id,business_id\n{id},{g}",
            },
            test_tables={"test_photo_to_biz.csv": "photo_id,business_id\n{id},{g}"},
            also={"test_photo_to_biz.csv": "37,13\n"},  # a photo of two
            sample="business_id,labels\n{g},1 2 3",
            packed={
                "train_photos.tgz": "train_photos/",
                "test_photos.tgz": "test_photos/",
                "train.csv.tgz": "train.csv",
                "train_photo_to_biz_ids.csv.tgz": "train_photo_to_biz_ids.csv",
                "test_photo_to_biz.csv.tgz": "test_photo_to_biz.csv",
                "sample_submission.csv.tgz": "sample_submission.csv",
            },
        ),
        yelp,
    ),
}
