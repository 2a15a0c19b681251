"""State Farm Distracted Driver Detection."""

from collections.abc import Mapping

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
    """Ten probabilities per image. No training image shows a driver of the test set, so folds never split a driver."""
    return Competition(
        name="state-farm",
        kaggle="state-farm-distracted-driver-detection",
        classes=CLASSES,
        # today's archive, and the older imgs.zip, which has no leading folder
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
    """Train the backbone, its first layers as fast as its last: frozen features don't see what a hand does.

    There is no validation split, so the models learn from every driver. Predictions of look-alikes are averaged,
    because the images are frames of films. Drivers of the test set are told apart, and batch norms adapt to each. Every
    driver was filmed in each class for about as long, so each has the classes in nearly the same shares.
    `competitions/state-farm/README.md` says what each setting is worth.
    """
    return {
        "method": "finetune",
        "crop": "squash",
        "rates": [1.0],
        "augment": "in-car",
        "models": 2,
        "validation_share": 0.0,
        "tta_views": 2,
        "neighbours": 20,
        "scenes": 20,
        "class_shares": True,
    }


@hookimpl
def search_space(space: Mapping[str, str]) -> dict[str, str]:
    """Search no images of two drivers in one, and no larger pictures; augment for this camera."""
    own = {"augment": "in-car,strong", "rates": "1,0.3+0.6+1"}
    return {name: own.get(name, values) for name, values in space.items() if name not in ("mixup", "image_size")}


@hookimpl
def augmentations() -> dict[str, list[object]]:
    """Imitate a camera that is mounted a little differently, in different light."""
    from albumentations import Affine, ColorJitter, ToGray

    moved = {"scale": (0.9, 1.2), "translate_percent": (-0.1, 0.1), "rotate": (-10, 10), "shear": (-5, 5)}
    light = {"brightness": (0.6, 1.4), "contrast": (0.6, 1.4), "saturation": (0.6, 1.4), "hue": (-0.05, 0.05)}
    return {"in-car": [Affine(**moved, border_mode=4, p=1.0), ColorJitter(**light, p=0.8), ToGray(p=0.1)]}
