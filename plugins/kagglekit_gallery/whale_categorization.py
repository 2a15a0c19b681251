"""Humpback Whale Identification: the playground competition."""

from kagglekit import Classes, Competition, CsvLabels, FromTrain, TopClasses, hookimpl


@hookimpl
def competition() -> Competition:
    """Tell 4,251 whales by their flukes, or that a whale is a new one. Many have only one image."""
    return Competition(
        name="whale-categorization",
        kaggle="whale-categorization-playground",
        target=Classes(FromTrain(), unseen="new_whale"),
        train=CsvLabels("train.csv", images="train/{id}", id="Image", label="Id"),
        test="test/{id}",
        flip="forbidden",
        submission=TopClasses(id="Image", label="Id", k=5),
        metric="map@5",
        leaderboard={"gold": 0.56236, "silver": 0.44852, "bronze": 0.40515, "median": 0.32788},
    )
