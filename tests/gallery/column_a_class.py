"""A probability a column: of classes, which sum to one, and of labels."""

from __future__ import annotations

from kagglekit import Classes, Competition, CsvLabels, FolderLabels, FromTrain, ProbabilityPerClass, Together
from tests.gallery import answers
from tests.gallery.layouts import Layout
from tests.gallery.running import Row

BREEDS = ("affenpinscher", "afghan_hound", "african_hunting_dog", "airedale")
LEAVES = ("Acer_Capillipes", "Acer_Circinatum", "Acer_Mono", "Acer_Opalus")
DISEASES = ("healthy", "multiple_diseases", "rust", "scab")
CATHETERS = (
    "ETT - Abnormal",
    "ETT - Borderline",
    "ETT - Normal",
    "NGT - Abnormal",
    "NGT - Borderline",
    "NGT - Incompletely Imaged",
    "NGT - Normal",
    "CVC - Abnormal",
    "CVC - Borderline",
    "CVC - Normal",
    "Swan Ganz Catheter Present",
)
DRIVERS = tuple(f"c{number}" for number in range(10))
PLANKTON = ("acantharia_protist", "copepod_calanoid", "fish_larvae_thin_body", "trichodesmium_puff")
FISH = ("ALB", "BET", "DOL", "LAG", "NoF", "OTHER", "SHARK", "YFT")
TYPES = ("Type_1", "Type_2", "Type_3")
WHALES = ("whale_00195", "whale_00442", "whale_02411", "whale_48813")


def plankton() -> Competition:
    """Name plankton in images of the sea."""
    return Competition(
        name="plankton",
        kaggle="datasciencebowl",
        train=FolderLabels("train/{label}"),
        test="test/{id}",
        flip="allowed",
        submission=ProbabilityPerClass(id="image"),
        metric="log_loss",
    )


def fisheries() -> Competition:
    """Name the fish on the deck of a boat; the test images of the first stage."""
    return Competition(
        name="fisheries",
        kaggle="the-nature-conservancy-fisheries-monitoring",
        train=FolderLabels("train/{label}"),
        test="test_stg1/{id}",
        flip="allowed",
        submission=ProbabilityPerClass(id="image", sample=("sample_submission_stg1.csv",)),
        metric="log_loss",
    )


def cervical_cancer() -> Competition:
    """Tell three types of cervix. More data unpack to folders at the top."""
    return Competition(
        name="cervical-cancer",
        kaggle="intel-mobileodt-cervical-cancer-screening",
        classes={"1": "type 1", "2": "type 2", "3": "type 3"},
        train=FolderLabels(Together("train/Type_{label}", "Type_{label}")),
        test="test/{id}",
        flip="allowed",
        submission=ProbabilityPerClass(id="image_name", write={"1": "Type_1", "2": "Type_2", "3": "Type_3"}),
        metric="log_loss",
    )


def right_whales() -> Competition:
    """Tell 447 whales. Training and test images are in one folder; some whales have only one image."""
    return Competition(
        name="right-whales",
        kaggle="noaa-right-whale-recognition",
        target=Classes(FromTrain()),
        train=CsvLabels("train.csv", images="imgs/{id}", id="Image", label="whaleID", only_listed=True),
        test="imgs/{id}",
        flip="forbidden",
        submission=ProbabilityPerClass(id="Image"),
        metric="log_loss",
    )


def columns(id_: str, names: tuple[str, ...], value: str) -> str:
    """Return a sample submission with the same value in all columns."""
    return f"{id_},{','.join(names)}\n{{id}}{f',{value}' * len(names)}"


ROWS = {
    "dog-breed-identification": Row(
        Layout(
            answer=answers.Probabilities(BREEDS),
            labels=BREEDS,
            id="{n:032x}",
            train="train/{id}.jpg",
            test="test/{id}.jpg",
            tables={"labels.csv": "id,breed\n{id},{label}"},
            sample=columns("id", BREEDS, "0.25"),
        )
    ),
    "leaf-classification": Row(
        Layout(
            answer=answers.Probabilities(LEAVES),
            labels=LEAVES,
            train="images/{id}.jpg",
            test="images/{id}.jpg",
            tables={"train.csv": "id,species,margin1,shape1,texture1\n{id},{label},0.007812,0.000647,0.023438"},
            test_tables={"test.csv": "id,margin1,shape1,texture1\n{id},0.019531,0.000755,0.0"},
            sample=columns("id", LEAVES, "0.25"),
            packed={
                "images.zip": "images/",
                "train.csv.zip": "train.csv",
                "test.csv.zip": "test.csv",
                "sample_submission.csv.zip": "sample_submission.csv",
            },
        )
    ),
    "plant-pathology-2020-fgvc7": Row(
        Layout(
            answer=answers.Probabilities(DISEASES),
            labels=DISEASES,
            id="Train_{n}",
            test_id="Test_{n}",
            first=0,
            train="images/{id}.jpg",
            test="images/{id}.jpg",
            tables={"train.csv": f"image_id,{','.join(DISEASES)}\n{{id}},{{hot}}"},
            test_tables={"test.csv": "image_id\n{id}"},
            sample=columns("image_id", DISEASES, "0.25"),
        )
    ),
    "ranzcr-clip-catheter-line-classification": Row(
        Layout(
            answer=answers.EachProbability(CATHETERS, sep="|"),
            labels=[
                "CVC - Normal",
                "ETT - Normal|CVC - Abnormal",
                "ETT - Borderline|NGT - Normal",
                "NGT - Incompletely Imaged",
                "ETT - Abnormal|NGT - Borderline|CVC - Borderline",
                "NGT - Abnormal|Swan Ganz Catheter Present",
                "",
            ],
            count=42,
            each=7,
            id="1.2.826.0.1.3680043.8.498.{n:038d}",
            train="train/{id}.jpg",
            test="test/{id}.jpg",
            tables={"train.csv": f"StudyInstanceUID,{','.join(CATHETERS)},PatientID\n{{id}},{{hot}},p{{g:08x}}"},
            sample=columns("StudyInstanceUID", CATHETERS, "0"),
            more=lambda *_: {
                "train_annotations.csv": "StudyInstanceUID,label,data\n",
                "train_tfrecords/00-1881.tfrec": "records",
            },
        )
    ),
    "state-farm-distracted-driver-detection": Row(
        Layout(
            answer=answers.Probabilities(DRIVERS),
            labels=DRIVERS,
            count=40,
            each=10,
            train="imgs/train/{label}/img_{n}.jpg",
            test="imgs/test/{id}",
            test_id="img_{n}.jpg",
            tables={"driver_imgs_list.csv": "subject,classname,img\np{g:03d},{label},img_{n}.jpg"},
            sample=columns("img", DRIVERS, "0.1"),
        )
    ),
    "datasciencebowl": Row(
        Layout(
            answer=answers.Probabilities(PLANKTON),
            labels=PLANKTON,
            train="train/{label}/{n}.jpg",
            test="test/{id}",
            id="{n}.jpg",
            sample=columns("image", PLANKTON, "0.25"),
            sample_name="sampleSubmission.csv",
            packed={
                "train.zip": "train/",
                "test.zip": "test/",
                "sampleSubmission.csv.zip": "sampleSubmission.csv",
            },
        ),
        plankton,
    ),
    "the-nature-conservancy-fisheries-monitoring": Row(
        Layout(
            answer=answers.Probabilities(FISH),
            labels=FISH,
            count=40,
            id="img_{n:05d}.jpg",
            train="train/{label}/{id}",
            test="test_stg1/{id}",
            sample=columns("image", FISH, "0.125"),
            sample_name="sample_submission_stg1.csv",
            more=lambda *_: {"sample_submission_stg2.csv": columns("image", FISH, "0.125").format(id="img_9.jpg")},
            packed={
                "train.zip": "train/",
                "test_stg1.zip": "test_stg1/",
                "sample_submission_stg1.csv.zip": "sample_submission_stg1.csv",
                "sample_submission_stg2.csv.zip": "sample_submission_stg2.csv",
            },
        ),
        fisheries,
    ),
    "intel-mobileodt-cervical-cancer-screening": Row(
        Layout(
            answer=answers.Probabilities(TYPES),
            labels=TYPES,
            first=0,
            id="{n}.jpg",
            train=("train/{label}/{id}", "{label}/{id}"),
            test="test/{id}",
            first_test=1,
            sample=columns("image_name", TYPES, "0.333333"),
            packed={
                "train.7z": "train/",
                "test.7z": "test/",
                **{f"additional_{name}_v2.7z": f"{name}/" for name in TYPES},
            },
        ),
        cervical_cancer,
    ),
    "noaa-right-whale-recognition": Row(
        Layout(
            answer=answers.Probabilities(WHALES),
            labels=WHALES[:3],
            lone=WHALES[3:],
            id="w_{n}.jpg",
            train="imgs/{id}",
            test="imgs/{id}",
            tables={"train.csv": "Image,whaleID\n{id},{label}"},
            sample=columns("Image", WHALES, "0.25"),
            packed={"imgs.zip": "imgs/", "train.csv.zip": "train.csv"},
        ),
        right_whales,
    ),
}
