"""Dogs vs. Cats Redux: Kernels Edition."""

from kagglekit import Competition, FilenameLabels, Probability, hookimpl


@hookimpl
def competition() -> Competition:
    """One probability of "dog" for each of 12,500 images; the class is in a training image's file name."""
    return Competition(
        name="dogs-vs-cats",
        kaggle="dogs-vs-cats-redux-kernels-edition",
        classes={"cat": "cat", "dog": "dog"},
        train=FilenameLabels(
            "train/{label}.{number}.jpg",
            # copies with a folder a class, and train.zip unpacked into a folder of its own name
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
    )


@hookimpl
def recipe() -> dict[str, object]:
    """Backbones have seen thousands of cats and dogs: to train one on more of them lost out-of-fold.

    The numbers stand in `competitions/dogs-vs-cats/README.md`.
    """
    return {"method": "features"}
