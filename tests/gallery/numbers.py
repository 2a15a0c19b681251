"""A number, several numbers, and shares of votes."""

from __future__ import annotations

from kagglekit import Columns, Competition, CsvLabels, FromTrain, Numbers, Shares, Values
from tests.gallery import answers
from tests.gallery.layouts import Layout
from tests.gallery.running import Row

TRAITS = ("X4", "X11", "X18", "X50", "X26", "X3112")
VOTES = tuple(
    f"Class{question}.{answer}"
    for question, count in enumerate((3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6), 1)
    for answer in range(1, count + 1)
)


def galaxies() -> Competition:
    """Predict the votes of people on 37 answers to 11 questions."""
    return Competition(
        name="galaxies",
        kaggle="galaxy-zoo-the-galaxy-challenge",
        target=Shares(FromTrain()),
        train=CsvLabels(
            "training_solutions_rev1.csv", images="images_training_rev1/{id}.jpg", id="GalaxyID", label=Columns()
        ),
        test="images_test_rev1/{id}.jpg",
        flip="allowed",
        submission=Values(id="GalaxyID", sample=("all_zeros_benchmark.csv",)),
        metric="rmse",
    )


def plant_traits() -> Competition:
    """Predict six traits of a plant."""
    means = {f"{name}_mean": name for name in ("X4", "X11", "X18", "X50", "X26", "X3112")}
    return Competition(
        name="plant-traits",
        kaggle="planttraits2024",
        target=Numbers(list(means)),
        train=CsvLabels("train.csv", images="train_images/{id}.jpeg", id="id", label=Columns()),
        test="test_images/{id}.jpeg",
        flip="allowed",
        submission=Values(write=means),
        metric="r2",
    )


def levels(count: int, low: float, high: float, digits: int = 3) -> list[str]:
    """Return labels of so many numbers. Each follows one of three that have nothing to do with one another."""
    steps = [(0.618034, 0.414214, 0.732051)[place % 3] for place in range(count)]
    rows = [[low + (high - low) * (number * step % 1) for step in steps] for number in range(1, 41)]
    return [",".join(f"{value:.{digits}f}" for value in row) for row in rows]


ROWS = {
    "petfinder-pawpularity-score": Row(
        Layout(
            answer=answers.Numbers(("Pawpularity",), low=1, high=100),
            labels=levels(1, 1, 100, 0),
            count=40,
            id="{n:032x}",
            train="train/{id}.jpg",
            test="test/{id}.jpg",
            tables={"train.csv": "Id,Subject Focus,Eyes,Face,Human,Blur,Pawpularity\n{id},0,1,1,0,0,{label}"},
            test_tables={"test.csv": "Id,Subject Focus,Eyes,Face,Human,Blur\n{id},1,0,1,0,1"},
            sample="Id,Pawpularity\n{id},65.95",
        )
    ),
    "galaxy-zoo-the-galaxy-challenge": Row(
        Layout(
            answer=answers.Numbers(VOTES, low=0, high=1),
            labels=levels(len(VOTES), 0, 1),
            count=40,
            first=100008,
            train="images_training_rev1/{id}.jpg",
            test="images_test_rev1/{id}.jpg",
            tables={"training_solutions_rev1.csv": f"GalaxyID,{','.join(VOTES)}\n{{id}},{{label}}"},
            sample=f"GalaxyID,{','.join(VOTES)}\n{{id}}{',0' * len(VOTES)}",
            sample_name="all_zeros_benchmark.csv",
            more=lambda train, test: {
                "all_ones_benchmark.csv": f"GalaxyID,{','.join(VOTES)}\n{test[0].id}{',1' * len(VOTES)}\n"
            },
            packed={
                "images_training_rev1.zip": "images_training_rev1/",
                "images_test_rev1.zip": "images_test_rev1/",
                "training_solutions_rev1.zip": "training_solutions_rev1.csv",
                "all_zeros_benchmark.zip": "all_zeros_benchmark.csv",
                "all_ones_benchmark.zip": "all_ones_benchmark.csv",
            },
        ),
        galaxies,
    ),
    "planttraits2024": Row(
        Layout(
            answer=answers.Numbers(TRAITS, low=-5, high=15),
            labels=levels(len(TRAITS), 0.1, 9),
            count=40,
            id="{n}",
            first=192027691,
            train="train_images/{id}.jpeg",
            test="test_images/{id}.jpeg",
            tables={
                "train.csv": "id,WORLDCLIM_BIO1_annual_mean_temperature,SOIL_bdod_0.5cm_mean_0.01_deg,"
                f"{','.join(f'{name}_mean' for name in TRAITS)},X4_sd\n{{id}},12.235703,147,{{label}},"
            },
            test_tables={
                "test.csv": "id,WORLDCLIM_BIO1_annual_mean_temperature,SOIL_bdod_0.5cm_mean_0.01_deg\n{id},15.1,130"
            },
            sample=f"id,{','.join(TRAITS)}\n{{id}}{',0' * len(TRAITS)}",
        ),
        plant_traits,
    ),
}
