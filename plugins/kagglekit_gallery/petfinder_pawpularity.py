"""PetFinder.my: Pawpularity Contest."""

from kagglekit import Competition, CsvLabels, Number, Value, hookimpl


@hookimpl
def competition() -> Competition:
    """Predict how popular the photograph of a pet is."""
    return Competition(
        name="petfinder-pawpularity",
        kaggle="petfinder-pawpularity-score",
        target=Number(1, 100, name="Pawpularity"),
        train=CsvLabels("train.csv", images="train/{id}.jpg", id="Id", label="Pawpularity"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=Value(id="Id", label="Pawpularity"),
        metric="rmse",
        leaderboard={"gold": 16.95041, "silver": 17.06636, "bronze": 17.0971, "median": 17.70298},
        mle_bench=0.1,
    )
