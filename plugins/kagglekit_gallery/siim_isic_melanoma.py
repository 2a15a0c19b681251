"""SIIM-ISIC Melanoma Classification."""

from kagglekit import Competition, CsvLabels, Probability, hookimpl


@hookimpl
def competition() -> Competition:
    """Find melanomas among moles. Folds never split a patient."""
    return Competition(
        name="siim-isic-melanoma",
        kaggle="siim-isic-melanoma-classification",
        classes={"0": "benign", "1": "malignant"},
        train=CsvLabels("train.csv", images="jpeg/train/{id}.jpg", id="image_name", label="target", group="patient_id"),
        test="jpeg/test/{id}.jpg",
        flip="allowed",
        submission=Probability(id="image_name", of="1", label="target"),
        metric="auc",
        leaderboard={"gold": 0.9455, "silver": 0.9401, "bronze": 0.937, "median": 0.9128},
    )
