"""Plant Pathology 2020."""

from kagglekit import Competition, CsvIds, CsvLabels, OneHot, ProbabilityPerClass, hookimpl


@hookimpl
def competition() -> Competition:
    """Name the disease of an apple leaf. Tables say which images are for training and which are the test."""
    return Competition(
        name="plant-pathology-2020",
        kaggle="plant-pathology-2020-fgvc7",
        classes={"healthy": "healthy", "multiple_diseases": "several diseases", "rust": "rust", "scab": "scab"},
        train=CsvLabels("train.csv", images="images/{id}.jpg", id="image_id", label=OneHot(), only_listed=True),
        test=CsvIds("test.csv", images="images/{id}.jpg", id="image_id"),
        flip="allowed",
        submission=ProbabilityPerClass(id="image_id"),
        metric="auc(mean)",
        leaderboard={"gold": 0.97836, "silver": 0.97465, "bronze": 0.97361, "median": 0.94852},
        mle_bench=0.1,
    )
