"""Plant Seedlings Classification."""

from kagglekit import ClassLabel, Competition, FolderLabels, hookimpl


@hookimpl
def competition() -> Competition:
    """Tell crops and weeds by their seedlings."""
    return Competition(
        name="plant-seedlings",
        kaggle="plant-seedlings-classification",
        train=FolderLabels("train/{label}"),
        test="test/{id}",
        flip="allowed",
        submission=ClassLabel(id="file", label="species"),
        metric="f1(micro)",
        leaderboard={"gold": 0.99244, "silver": 0.98614, "bronze": 0.98236, "median": 0.95591},
        mle_bench=0.14,
    )
