"""WiDS Datathon 2019: oil palm plantations."""

from kagglekit import Competition, CsvLabels, Probability, Together, hookimpl


@hookimpl
def competition() -> Competition:
    """Find oil palm plantations in satellite images. One submission holds two folders of test images."""
    return Competition(
        name="oil-palm",
        kaggle="widsdatathon2019",
        classes={"0": "other land", "1": "oil palm"},
        train=CsvLabels(
            "traininglabels.csv", images="train_images/train_images/{id}", id="image_id", label="has_oilpalm"
        ),
        test=(
            Together(
                "leaderboard_test_data/leaderboard_test_data/{id}",
                "leaderboard_holdout_data/leaderboard_holdout_data/{id}",
            ),
        ),
        flip="allowed",
        submission=Probability(id="image_id", of="1", label="has_oilpalm", sample=("SampleSubmission.csv",)),
        metric="auc",
        leaderboard={"first": 0.99957, "110th of 203": 0.99526},
    )
