"""Histopathologic Cancer Detection."""

from kagglekit import Competition, CsvLabels, Probability, hookimpl


@hookimpl
def competition() -> Competition:
    """Find tumour tissue in the centre of microscope images."""
    return Competition(
        name="histopathologic-cancer",
        kaggle="histopathologic-cancer-detection",
        classes={"0": "no tumour", "1": "tumour"},
        train=CsvLabels("train_labels.csv", images="train/{id}.tif", id="id", label="label"),
        test="test/{id}.tif",
        flip="allowed",
        submission=Probability(of="1"),
        metric="auc",
        leaderboard={"gold": 0.9835, "silver": 0.9798, "bronze": 0.9738, "median": 0.9477},
    )
