"""Cassava Leaf Disease Classification."""

from kagglekit import ClassLabel, Competition, CsvLabels, hookimpl


@hookimpl
def competition() -> Competition:
    """Name the disease of a cassava leaf."""
    return Competition(
        name="cassava",
        kaggle="cassava-leaf-disease-classification",
        classes={
            "0": "bacterial blight",
            "1": "brown streak disease",
            "2": "green mottle",
            "3": "mosaic disease",
            "4": "healthy",
        },
        train=CsvLabels("train.csv", images="train_images/{id}", id="image_id", label="label"),
        test="test_images/{id}",
        flip="allowed",
        submission=ClassLabel(id="image_id", label="label"),
        metric="accuracy",
        leaderboard={"gold": 0.9013, "silver": 0.8992, "bronze": 0.8978, "median": 0.8909},
    )
