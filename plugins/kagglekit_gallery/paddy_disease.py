"""Paddy Doctor: Paddy Disease Classification."""

from kagglekit import ClassLabel, Competition, FolderLabels, hookimpl


@hookimpl
def competition() -> Competition:
    """Name the disease of a rice leaf."""
    return Competition(
        name="paddy-disease",
        kaggle="paddy-disease-classification",
        train=FolderLabels("train_images/{label}"),
        test="test_images/{id}",
        flip="allowed",
        submission=ClassLabel(id="image_id", label="label"),
        metric="accuracy",
        leaderboard={"gold": 0.98732, "silver": 0.98617, "bronze": 0.98387, "median": 0.96889},
        mle_bench=0.25,
    )
