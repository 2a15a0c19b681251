"""Planet: Understanding the Amazon from Space."""

from kagglekit import Competition, CsvLabels, FromTrain, JoinedLabels, Labels, Tags, Together, hookimpl


@hookimpl
def competition() -> Competition:
    """Tag satellite images with the weather and all kinds of land that they show."""
    return Competition(
        name="planet-amazon",
        kaggle="planet-understanding-the-amazon-from-space",
        target=Labels(FromTrain(), at_least_one=True),
        train=CsvLabels("train_v2.csv", images="train-jpg/{id}.jpg", id="image_name", label=Tags("tags")),
        test=(Together("test-jpg/{id}.jpg", "test-jpg-additional/{id}.jpg"), "test-jpg/{id}.jpg"),
        flip="allowed",
        submission=JoinedLabels(id="image_name", label="tags", sample=("sample_submission_v2.csv",)),
        metric="fbeta(2, samples)",
        leaderboard={"first": 0.93318},
    )
