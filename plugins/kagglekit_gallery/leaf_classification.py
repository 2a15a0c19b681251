"""Leaf Classification."""

from kagglekit import Classes, Competition, CsvIds, CsvLabels, FromTrain, ProbabilityPerClass, hookimpl


@hookimpl
def competition() -> Competition:
    """Tell 99 species by the silhouette of a leaf. Tables say which images are for training and which are the test."""
    return Competition(
        name="leaf-classification",
        kaggle="leaf-classification",
        target=Classes(FromTrain()),
        train=CsvLabels("train.csv", images="images/{id}.jpg", id="id", label="species", only_listed=True),
        test=CsvIds("test.csv", images="images/{id}.jpg", id="id"),
        flip="allowed",
        submission=ProbabilityPerClass(),
        metric="log_loss",
        leaderboard={"gold": 0.0, "silver": 0.00791, "bronze": 0.01526, "median": 0.10834},
        mle_bench=0.1,
    )
