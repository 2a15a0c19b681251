"""Aerial Cactus Identification."""

from kagglekit import Competition, CsvLabels, Probability, hookimpl


@hookimpl
def competition() -> Competition:
    """Find columnar cacti in small aerial images."""
    return Competition(
        name="aerial-cactus",
        kaggle="aerial-cactus-identification",
        classes={"0": "no cactus", "1": "cactus"},
        train=CsvLabels("train.csv", images="train/{id}", id="id", label="has_cactus"),
        test="test/{id}",
        flip="allowed",
        submission=Probability(of="1", label="has_cactus"),
        metric="auc",
        leaderboard={"gold": 1.0, "silver": 1.0, "bronze": 1.0, "median": 0.9991},
        mle_bench=0.19,
    )
