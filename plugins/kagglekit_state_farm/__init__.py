"""State Farm Distracted Driver Detection."""

from kagglekit import Competition, CsvGroups, FolderLabels, ProbabilityPerClass, hookimpl

CLASSES = {
    "c0": "safe driving",
    "c1": "texting, right hand",
    "c2": "phone, right hand",
    "c3": "texting, left hand",
    "c4": "phone, left hand",
    "c5": "operating the radio",
    "c6": "drinking",
    "c7": "reaching behind",
    "c8": "hair and make-up",
    "c9": "talking to passenger",
}


@hookimpl
def competition() -> Competition:
    """Ten probabilities an image; drivers of the test set are in no training image, so folds never split one."""
    return Competition(
        name="state-farm",
        kaggle="state-farm-distracted-driver-detection",
        classes=CLASSES,
        # today's bundle, and the older imgs.zip without the leading folder
        train=FolderLabels("imgs/train/{label}", also=("train/{label}",)),
        test=("imgs/test/{id}", "test/{id}"),
        groups=CsvGroups("driver_imgs_list.csv", image="img", group="subject"),
        flip={"c1": "c3", "c3": "c1", "c2": "c4", "c4": "c2"},  # a mirrored driver uses the other hand
        submission=ProbabilityPerClass(id="img"),
        metric="log_loss",
        leaderboard={"first": 0.0874, "10-NN average of 8 VGG16s": 0.22202},
    )


@hookimpl
def recipe() -> dict[str, object]:
    """Frozen features don't see what a hand does: the backbone is trained, its first layers as fast as its last.

    Nothing is chosen in a training, so all drivers are learnt from. Frames of one film look alike. What each setting
    is worth stands in `competitions/state-farm/README.md`.
    """
    return {
        "method": "finetune",
        "crop": "squash",
        "rates": [1.0],
        "augment": "in-car",
        "models": 2,
        "validation_share": 0.0,
        "tta_views": 0,
        "neighbours": 10,
    }


@hookimpl
def augmentations() -> dict[str, list[object]]:
    """Cameras that are mounted a little otherwise, in other light."""
    from albumentations import Affine, ColorJitter, ToGray

    moved = {"scale": (0.9, 1.2), "translate_percent": (-0.1, 0.1), "rotate": (-10, 10), "shear": (-5, 5)}
    light = {"brightness": (0.6, 1.4), "contrast": (0.6, 1.4), "saturation": (0.6, 1.4), "hue": (-0.05, 0.05)}
    return {"in-car": [Affine(**moved, border_mode=4, p=1.0), ColorJitter(**light, p=0.8), ToGray(p=0.1)]}
