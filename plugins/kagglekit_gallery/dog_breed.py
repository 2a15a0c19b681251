"""Dog Breed Identification."""

from kagglekit import Classes, Competition, CsvLabels, FromTrain, ProbabilityPerClass, hookimpl


@hookimpl
def competition() -> Competition:
    """Tell 120 breeds of dogs."""
    return Competition(
        name="dog-breed",
        kaggle="dog-breed-identification",
        target=Classes(FromTrain()),
        train=CsvLabels("labels.csv", images="train/{id}.jpg", id="id", label="breed"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=ProbabilityPerClass(),
        metric="log_loss",
        leaderboard={"gold": 0.0005, "silver": 0.00539, "bronze": 0.04598, "median": 0.47205},
        mle_bench=0.1,
    )
