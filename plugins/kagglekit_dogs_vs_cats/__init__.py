"""Dogs vs. Cats Redux: Kernels Edition."""

from kagglekit import Competition, FilenameLabels, Probability, hookimpl


@hookimpl
def competition() -> Competition:
    """One probability of "dog" per image; a training image has its class in its file name."""
    return Competition(
        name="dogs-vs-cats",
        kaggle="dogs-vs-cats-redux-kernels-edition",
        classes={"cat": "cat", "dog": "dog"},
        train=FilenameLabels(
            "train/{label}.{number}.jpg",
            # copies with one folder per class, and train.zip unpacked into a folder of its own name
            also=("train/{folder}/{label}.{number}.jpg",),
        ),
        test=("test/{id}.jpg", "test/{folder}/{id}.jpg", "test1/{id}.jpg"),
        submission=Probability(of="dog"),
        metric="log_loss",
        flip="allowed",
        leaderboard={
            "first": 0.0330,
            "gold": 0.03882,
            "20th (frozen features of three backbones)": 0.04141,
            "silver": 0.05038,
            "bronze": 0.06127,
            "median": 0.12216,
        },
        mle_bench=0.1,
    )


@hookimpl
def recipe() -> dict[str, object]:
    """Use frozen features: backbones have seen thousands of cats and dogs, and fine-tuning made the score worse.

    The numbers are in `competitions/dogs-vs-cats/README.md`.
    """
    return {"method": "features"}
