"""Two classes: one probability a row, or a name."""

from __future__ import annotations

from kagglekit import ClassLabel, Competition, CsvLabels, FilenameLabels, Probability
from tests.gallery import answers
from tests.gallery.layouts import Layout
from tests.gallery.running import Row

YES_OR_NO = answers.Probability(("0", "1"))


def alaska2() -> Competition:
    """A cover image without a message, and the same image with one, hidden in three ways."""
    hidden = dict.fromkeys(("JMiPOD", "JUNIWARD", "UERD"), "stego")
    return Competition(
        name="alaska2",
        kaggle="alaska2-image-steganalysis",
        classes={"cover": "nothing hidden", "stego": "a hidden message"},
        train=FilenameLabels("{label}/{group}.jpg", labels={"Cover": "cover"} | hidden),
        test="Test/{id}",
        flip="allowed",
        submission=Probability(id="Id", of="stego", label="Label"),
        metric="auc(weights={0.4: 2, 1: 1})",
        leaderboard={"gold": 0.928, "silver": 0.921, "bronze": 0.915, "median": 0.904},
    )


def dogs_vs_cats_2013() -> Competition:
    """Classes are words in the data and numbers in the submission."""
    return Competition(
        name="dogs-vs-cats-2013",
        kaggle="dogs-vs-cats",
        classes={"cat": "cat", "dog": "dog"},
        train=FilenameLabels("train/{label}.{number}.jpg"),
        test="test1/{id}.jpg",
        flip="allowed",
        submission=ClassLabel(write={"cat": "0", "dog": "1"}),
        metric="accuracy",
    )


def invasive_species() -> Competition:
    """Whether a hydrangea can be seen."""
    return Competition(
        name="invasive-species",
        kaggle="invasive-species-monitoring",
        classes={"0": "no hydrangea", "1": "hydrangea"},
        train=CsvLabels("train_labels.csv", images="train/{id}.jpg", id="name", label="invasive"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=Probability(id="name", of="1", label="invasive"),
        metric="auc",
        leaderboard={"gold": 0.99505, "silver": 0.99237, "bronze": 0.98979, "median": 0.96999},
    )


ROWS = {
    "aerial-cactus-identification": Row(
        Layout(
            answer=YES_OR_NO,
            labels=("0", "1"),
            id="{n:032x}.jpg",
            train="train/{id}",
            test="test/{id}",
            tables={"train.csv": "id,has_cactus\n{id},{label}"},
            sample="id,has_cactus\n{id},0.5",
            packed={"train.zip": "train/", "test.zip": "test/"},
        )
    ),
    "dogs-vs-cats-redux-kernels-edition": Row(
        Layout(
            answer=answers.Probability(("cat", "dog")),
            labels=("cat", "dog"),
            train="train/{label}.{n}.jpg",
            test="test/{n}.jpg",
            first_test=1,
            sample="id,label\n{id},0.5",
            packed={"train.zip": "train/", "test.zip": "test/"},
        )
    ),
    "histopathologic-cancer-detection": Row(
        Layout(
            answer=YES_OR_NO,
            labels=("0", "1"),
            id="{n:040x}",
            train="train/{id}.tif",
            test="test/{id}.tif",
            tables={"train_labels.csv": "id,label\n{id},{label}"},
            sample="id,label\n{id},0",
        )
    ),
    "siim-isic-melanoma-classification": Row(
        Layout(
            answer=YES_OR_NO,
            labels=("0", "0", "1"),
            id="ISIC_{n:07d}",
            each=6,
            train="jpeg/train/{id}.jpg",
            test="jpeg/test/{id}.jpg",
            tables={
                "train.csv": "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
                "benign_malignant,target\n{id},IP_{g:07d},male,45.0,,unknown,benign,{label}"
            },
            test_tables={
                "test.csv": "image_name,patient_id,sex,age_approx,anatom_site_general_challenge\n"
                "{id},IP_{g:07d},female,70.0,torso"
            },
            sample="image_name,target\n{id},0",
            more=lambda train, test: {
                **{f"train/{one.id}.dcm": "DICOM" for one in train},
                **{f"test/{one.id}.dcm": "DICOM" for one in test},
                "tfrecords/train00-2071.tfrec": "records",
            },
        )
    ),
    "alaska2-image-steganalysis": Row(
        Layout(
            answer=answers.Probability(
                ("cover", "stego"), of={"Cover": "cover", "JMiPOD": "stego", "JUNIWARD": "stego", "UERD": "stego"}
            ),
            labels=("Cover", "JMiPOD", "JUNIWARD", "UERD"),
            each=4,  # the same picture in each folder
            count=32,
            id="{g:05d}.jpg",
            test_id="{n:04d}.jpg",
            train="{label}/{id}",
            test="Test/{id}",
            sample="Id,Label\n{id},0",
        ),
        alaska2,
    ),
    "invasive-species-monitoring": Row(
        Layout(
            answer=YES_OR_NO,
            labels=("0", "1"),
            train="train/{id}.jpg",
            test="test/{id}.jpg",
            first_test=1,
            tables={"train_labels.csv": "name,invasive\n{id},{label}"},
            sample="name,invasive\n{id},0.5",
            packed={
                "train.7z": "train/",
                "test.7z": "test/",
                "train_labels.csv.zip": "train_labels.csv",
                "sample_submission.csv.zip": "sample_submission.csv",
            },
        ),
        invasive_species,
    ),
    "dogs-vs-cats": Row(
        Layout(
            answer=answers.Name(("0", "1"), of={"cat": "0", "dog": "1"}),
            labels=("cat", "dog"),
            train="train/{label}.{n}.jpg",
            test="test1/{id}.jpg",
            first_test=1,
            sample="id,label\n{id},0",
            sample_name="sampleSubmission.csv",
            packed={"train.zip": "train/", "test1.zip": "test1/"},
        ),
        dogs_vs_cats_2013,
    ),
}
