"""RANZCR CLiP: Catheter and Line Position Challenge."""

from kagglekit import Competition, CsvLabels, FromSample, Labels, OneHot, ProbabilityPerClass, hookimpl


@hookimpl
def competition() -> Competition:
    """Find catheters and lines in chest X-rays, and whether they lie well. Folds never split a patient."""
    return Competition(
        name="ranzcr-clip",
        kaggle="ranzcr-clip-catheter-line-classification",
        target=Labels(FromSample()),
        train=CsvLabels("train.csv", images="train/{id}.jpg", id="StudyInstanceUID", label=OneHot(), group="PatientID"),
        test="test/{id}.jpg",
        flip="allowed",
        submission=ProbabilityPerClass(id="StudyInstanceUID"),
        metric="auc(mean)",
        leaderboard={"gold": 0.97357, "silver": 0.97152, "bronze": 0.9709, "median": 0.9675},
        mle_bench=0.1,
    )
