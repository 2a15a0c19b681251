"""APTOS 2019 Blindness Detection."""

from kagglekit import ClassLabel, Competition, CsvLabels, Grades, hookimpl


@hookimpl
def competition() -> Competition:
    """Grade diabetic retinopathy in photographs of the retina."""
    return Competition(
        name="aptos2019",
        kaggle="aptos2019-blindness-detection",
        target=Grades({"0": "none", "1": "mild", "2": "moderate", "3": "severe", "4": "proliferative"}),
        train=CsvLabels("train.csv", images="train_images/{id}.png", id="id_code", label="diagnosis"),
        test="test_images/{id}.png",
        flip="allowed",
        submission=ClassLabel(id="id_code", label="diagnosis"),
        metric="qwk",
        leaderboard={"gold": 0.93051, "silver": 0.91965, "bronze": 0.91449, "median": 0.88891},
        mle_bench=0.1,
    )
