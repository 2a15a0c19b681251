"""Lists of guesses, the best first, and a guess with its score."""

from __future__ import annotations

from kagglekit import ClassAndScore, Classes, Competition, CsvLabels, FolderLabels, FromTrain, TopClasses
from tests.gallery import answers
from tests.gallery.layouts import Layout, others
from tests.gallery.running import Row

FLUKES = ("new_whale", "w_1287fbc", "w_98baff9", "w_7554f44", "w_1eafe46", "w_693c9ee")
DOLPHINS = ("37c7aba965a5", "114207cab555", "a6e325d8e924", "19fbb960f07d", "c995c043c353", "cadddb1636b9")
HOTELS = ("36363", "53586", "18807", "64314", "60181", "204")
FOOD = ("0", "7", "25", "211", "250")
LANDMARKS = ("1", "137790", "20409", "8429")


def humpback_whales() -> Competition:
    """Tell whales by their flukes, or that a whale is a new one. Many have only one image."""
    return Competition(
        name="humpback-whales",
        kaggle="humpback-whale-identification",
        target=Classes(FromTrain(), unseen="new_whale"),
        train=CsvLabels("train.csv", images="train/{id}", id="Image", label="Id"),
        test="test/{id}",
        flip="forbidden",
        submission=TopClasses(id="Image", label="Id", k=5),
        metric="map@5",
    )


def happy_whales() -> Competition:
    """Tell whales and dolphins by their backs. No training image is of a new one."""
    return Competition(
        name="happy-whales",
        kaggle="happy-whale-and-dolphin",
        target=Classes(FromTrain(), unseen="new_individual"),
        train=CsvLabels("train.csv", images="train_images/{id}", id="image", label="individual_id"),
        test="test_images/{id}",
        flip="forbidden",
        submission=TopClasses(id="image", label="predictions", k=5),
        metric="map@5",
    )


def hotels_2021() -> Competition:
    """Tell hotels by their rooms. One image is in the table with two hotels."""
    return Competition(
        name="hotels-2021",
        kaggle="hotel-id-2021-fgvc8",
        train=CsvLabels(
            "train.csv",
            images="train_images/{chain}/{id}",
            id="image",
            label="hotel_id",
            only_agreed=True,
        ),
        test="test_images/{id}",
        flip="allowed",
        submission=TopClasses(id="image", label="hotel_id", k=5),
        metric="map@5",
        leaderboard={"gold": 0.7205, "silver": 0.39, "bronze": 0.0216, "median": 0.0006},
    )


def hotels_2022() -> Competition:
    """Tell hotels by their rooms."""
    return Competition(
        name="hotels-2022",
        kaggle="hotel-id-to-combat-human-trafficking-2022-fgvc9",
        train=FolderLabels("train_images/{label}"),
        test="test_images/{id}",
        flip="allowed",
        submission=TopClasses(id="image_id", label="hotel_id", k=5),
        metric="map@5",
    )


def ifood_2019() -> Competition:
    """Name what is on a plate, in three guesses."""
    return Competition(
        name="ifood-2019",
        kaggle="ifood-2019-fgvc6",
        train=CsvLabels("train_labels.csv", images="train_set/{id}", id="img_name", label="label"),
        test="test_set/{id}",
        flip="allowed",
        submission=TopClasses(id="img_name", k=3, sample=("ifood2019_sample_submission.csv",)),
        metric="top_error@3",
    )


def landmarks_2020() -> Competition:
    """Tell 81,313 landmarks, with the confidence in each."""
    return Competition(
        name="landmarks-2020",
        kaggle="landmark-recognition-2020",
        train=CsvLabels("train.csv", images="train/{a}/{b}/{c}/{id}.jpg", id="id", label="landmark_id"),
        test="test/{a}/{b}/{c}/{id}.jpg",
        flip="allowed",
        submission=ClassAndScore(label="landmarks"),
        metric="gap",
    )


ROWS = {
    "whale-categorization-playground": Row(
        Layout(
            answer=answers.Best(FLUKES, k=5),
            labels=FLUKES[:5],
            lone=FLUKES[5:],
            id="{n:08x}.jpg",
            train="train/{id}",
            test="test/{id}",
            tables={"train.csv": "Image,Id\n{id},{label}"},
            sample="Image,Id\n{id},new_whale w_1287fbc w_98baff9 w_7554f44 w_1eafe46",
            packed={"train.zip": "train/", "test.zip": "test/"},
        )
    ),
    "humpback-whale-identification": Row(
        Layout(
            answer=answers.Best(FLUKES, k=5),
            labels=FLUKES[:5],
            lone=FLUKES[5:],
            id="{n:09x}.jpg",
            train="train/{id}",
            test="test/{id}",
            tables={"train.csv": "Image,Id\n{id},{label}"},
            sample="Image,Id\n{id},new_whale w_1287fbc w_98baff9 w_7554f44 w_1eafe46",
            packed={"train.zip": "train/*", "test.zip": "test/*"},
        ),
        humpback_whales,
    ),
    "happy-whale-and-dolphin": Row(
        Layout(
            answer=answers.Best((*DOLPHINS, "new_individual"), k=5),
            labels=DOLPHINS[:5],
            lone=DOLPHINS[5:],
            id="{n:014x}.jpg",
            train="train_images/{id}",
            test="test_images/{id}",
            tables={"train.csv": "image,species,individual_id\n{id},bottlenose_dolpin,{label}"},
            sample=f"image,predictions\n{{id}},{' '.join(DOLPHINS[:5])}",
        ),
        happy_whales,
    ),
    "hotel-id-2021-fgvc8": Row(
        Layout(
            answer=answers.Best(HOTELS, k=5),
            labels=HOTELS[:5],
            lone=HOTELS[5:],
            id="{n:016x}.jpg",
            train=("train_images/0/{id}", "train_images/87/{id}"),
            test="test_images/{id}",
            tables={"train.csv": "image,chain,hotel_id,timestamp\n{id},0,{label},2018-04-13 14:00:00"},
            also={
                "train.csv": "ce27d36c9147cc19.jpg,5,36363,2019-01-05 12:00:00\n"
                "ce27d36c9147cc19.jpg,5,53586,2019-01-05 12:00:00\n"
            },
            sample=f"image,hotel_id\n{{id}},{' '.join(HOTELS[:5])}",
            more=lambda *_: others("train_images/5/ce27d36c9147cc19.jpg"),
        ),
        hotels_2021,
    ),
    "hotel-id-to-combat-human-trafficking-2022-fgvc9": Row(
        Layout(
            answer=answers.Best(HOTELS, k=5),
            labels=HOTELS[:5],
            lone=HOTELS[5:],
            id="{n:09d}.jpg",
            train="train_images/{label}/{id}",
            test="test_images/{id}",
            sample=f"image_id,hotel_id\n{{id}},{' '.join(HOTELS[:5])}",
            more=lambda *_: others("train_masks/00000.png", "train_masks/00001.png"),
        ),
        hotels_2022,
    ),
    "ifood-2019-fgvc6": Row(
        Layout(
            answer=answers.Best(FOOD, k=3),
            labels=FOOD,
            first=0,
            id="train_{n:06d}.jpg",
            test_id="test_{n:06d}.jpg",
            train="train_set/{id}",
            test="test_set/{id}",
            tables={"train_labels.csv": "img_name,label\n{id},{label}"},
            sample="img_name,label\n{id},25 7 0",
            sample_name="ifood2019_sample_submission.csv",
            more=lambda *_: {
                "val_labels.csv": "img_name,label\nval_000000.jpg,7\n",
                **others("val_set/val_000000.jpg"),
                "class_list.txt": "0 macaron\n1 beignet\n",
            },
            packed={"train_set.zip": "train_set/", "val_set.zip": "val_set/", "test_set.zip": "test_set/"},
        ),
        ifood_2019,
    ),
    "landmark-recognition-2020": Row(
        Layout(
            answer=answers.Scored(LANDMARKS),
            labels=LANDMARKS,
            id="{n:03d}7cd42dc5a7be4",
            train="train/{id[0]}/{id[1]}/{id[2]}/{id}.jpg",
            test="test/{id[0]}/{id[1]}/{id[2]}/{id}.jpg",
            tables={"train.csv": "id,landmark_id\n{id},{label}"},
            sample="id,landmarks\n{id},8429 0.1",
            packed={"images_000.tar": "train/", "images_001.tar": "test/"},
        ),
        landmarks_2020,
    ),
}
