"""Plant Pathology 2021."""

from kagglekit import Competition, CsvLabels, FromTrain, JoinedLabels, Labels, Tags, hookimpl


@hookimpl
def competition() -> Competition:
    """Name all diseases of an apple leaf."""
    return Competition(
        name="plant-pathology-2021",
        kaggle="plant-pathology-2021-fgvc8",
        target=Labels(FromTrain(), at_least_one=True),
        train=CsvLabels("train.csv", images="train_images/{id}", id="image", label=Tags("labels")),
        test="test_images/{id}",
        flip="allowed",
        submission=JoinedLabels(id="image", label="labels"),
        metric="f1(micro)",
        leaderboard={"gold": 0.8612, "silver": 0.85305, "bronze": 0.83508, "median": 0.75445},
        mle_bench=0.2,
    )
