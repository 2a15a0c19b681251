"""The contents of the JSON files in a run's folder.

Unknown keys of newer versions are kept; keys that older versions did not write have defaults. `filenames` has the
names of the files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kagglekit.base import storage
from kagglekit.base.environment import Machine
from kagglekit.base.errors import UserError
from kagglekit.base.plain import Plain, left_out

if TYPE_CHECKING:
    from kagglekit.tasks.task import Task

Kind = TypeVar("Kind", bound=Plain)

TRANSDUCTIVE = "transductive"
"""Note on steps that learn from the images that are predicted."""


def read(path: Path, kind: type[Kind]) -> Kind | None:
    """Read a file; None if there is none. Raises UserError if keys are missing."""
    plain = storage.read_json(path)
    try:
        return None if plain is None else kind.from_plain(plain)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or remove {path.parent}.") from error


def write(path: Path, value: Plain) -> None:
    """Write a file atomically."""
    storage.write_json(path, value.to_plain())


@dataclass(frozen=True, kw_only=True)
class CompetitionRecord(Plain):
    """The competition as its plugin described it at the time of the run."""

    name: str
    kaggle: str = ""
    """The competition's slug on Kaggle; empty if it is not on Kaggle."""
    classes: Mapping[str, str]
    """Label -> name for people, in the order of probabilities."""
    target: Mapping[str, Any] | None = left_out()
    """What is predicted, for `targets.from_plain`, if it is not one of the classes."""
    train: str = ""
    """Python `repr` of the layout of training images; `valid`, `groups` and `submission` are `repr`s too."""
    valid: str = ""
    test: tuple[str, ...] = ()
    """Path patterns of the test images."""
    groups: str = ""
    flip: Literal["allowed", "forbidden"] | Mapping[str, str]
    """Whether flips are allowed, or class -> class of the mirrored image."""
    submission: str = ""
    metric: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, in the order of probabilities."""
        return tuple(self.classes)

    @property
    def task(self) -> Task:
        """All that depends on what is predicted."""
        from kagglekit.tasks import kinds, targets

        return kinds.of(targets.Classes(self.classes) if self.target is None else targets.from_plain(self.target))


@dataclass(frozen=True, kw_only=True)
class BackboneRecord(Plain):
    """A backbone that the run used."""

    name: str
    """Model name in timm."""
    source: str = ""
    """Origin of the weights."""
    sha256: str
    """SHA-256 of the file of weights."""
    licence: str = ""
    parameters: int = 0
    """Number of parameters."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Output of the ONNX graph -> width."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    """Versions of the packages that exported the graph."""
    preprocessing: Mapping[str, Any]
    """Preprocessing of the input, for `Preprocessing.from_plain`."""
    pixels: int | None = left_out()
    """Version of the preprocessing code; older runs did not store it."""


def names_of(backbones: Sequence[BackboneRecord]) -> list[str]:
    """Return the names of backbones; of those with the same, with input sizes, and where these differ, crops."""
    return [_name_among(one, [other for other in backbones if other.name == one.name]) for one in backbones]


def _name_among(one: BackboneRecord, namesakes: Sequence[BackboneRecord]) -> str:
    if len(namesakes) == 1:
        return one.name
    size = "x".join(map(str, one.preprocessing["size"]))
    crops = {other.preprocessing["crop"] for other in namesakes}
    squashed = len(crops) > 1 and one.preprocessing["crop"] == "squash"
    return f"{one.name}@{size}{'@squash' if squashed else ''}"


@dataclass(frozen=True, kw_only=True)
class Record(Plain):
    """The inputs of a run: `run.json`, written when the run starts."""

    competition: CompetitionRecord
    metric: str | None = left_out()
    """The metric as the plugin writes it, for `metrics.resolve`; None for a function, which has no name."""
    positive: str | None = left_out()
    """The class whose probability is submitted, for metrics that have a positive class."""
    leaderboard: Mapping[str, float] = field(default_factory=dict)
    """Known leaderboard scores: name -> score."""
    bundle: Mapping[str, Any] = field(default_factory=dict)
    """What a bundle needs to know about the competition, as in `bundle.json`."""
    backbones: tuple[BackboneRecord, ...] = ()
    batch_size: int = 0
    """Images per batch."""
    train_images: int = 0
    test_images: int = 0
    dropped: int = 0
    """Number of training images that the user excluded."""
    seed: int = 0
    synthetic: bool = False
    """Whether the run is synthetic: its images are drawn."""
    started: str = ""
    """Local time at which the first command started."""
    gone_on: int = 0
    """Number of commands that resumed the run."""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Installed package -> version."""
    machine: Machine = field(default_factory=Machine)
    git_commit: str = ""
    """Commit of the current folder; empty if it is not in a repository."""

    @property
    def own_hooks(self) -> tuple[str, ...]:
        """Hooks of the plugin that a bundle can't include."""
        return tuple(self.bundle.get("own_hooks", ()))


@dataclass(frozen=True, kw_only=True)
class FinishingStep(Plain):
    """A finishing step, its gain, and whether it was kept. Numbers are in units of the metric."""

    step: str
    value: float | None
    """Parameter of the step; None if it has none, or several."""
    text: str | None = left_out()
    """Several parameters, for people."""
    before: float
    """Score without the step."""
    after: float
    """Score with the step, its parameter chosen on other rows than the scored ones."""
    gain: float
    """Improvement of the score; positive is better."""
    low: float
    """Lower bound of the gain, with 95% confidence."""
    high: float | None = left_out()
    """Upper bound, with 95% confidence; older runs have none."""
    kept: bool
    note: str | None = left_out()
    """What else is to be known of the step, in a word; None if nothing."""


@dataclass(frozen=True, kw_only=True)
class Alone(Plain):
    """The finishing of an exported file, which sees one image at a time: `alone.json`."""

    steps: Mapping[str, float | None]
    """Finishing steps that need no other images -> value."""
    decision: Mapping[str, Any] | None = left_out()
    """What is decided from predictions, for `decisions.from_plain`; older runs have none."""
    left_out: tuple[str, ...] = ()
    """Steps that need other images, and were kept for the submission only."""
    out_of_fold: float
    """Out-of-fold score without the steps left out."""


@dataclass(frozen=True, kw_only=True)
class BlendMember(Plain):
    """A run that may be blended, or a model or view inside it."""

    name: str
    """Id of the run, and after a slash the member inside it."""
    score: float
    """Out-of-fold score before finishing steps."""


@dataclass(frozen=True, kw_only=True)
class BlendWay(Plain):
    """A way to blend."""

    name: str
    weights: Mapping[str, float]
    """Member -> weight for other images, chosen on all scored ones."""
    parts: Mapping[str, Mapping[str, float]]
    """Part of the scored images -> the same, chosen on the others."""


@dataclass(frozen=True, kw_only=True)
class Blend(Plain):
    """The members of a blend and their weights: `blend.json`."""

    members: tuple[BlendMember, ...]
    ways: tuple[BlendWay, ...]
    """The first is the best member; the others are candidates for better predictions."""


@dataclass(frozen=True, kw_only=True)
class Provider(Plain):
    """The device of a computation: `provider.json` of a run and of each fine-tuned model."""

    asked: str = ""
    """Device requested in the recipe."""
    used: str
    """Device used: cpu or cuda."""
    features: tuple[str, ...] | None = left_out()
    """Devices that computed the features for fine-tuning's initial heads."""


@dataclass(frozen=True, kw_only=True)
class Result(Plain):
    """The final numbers of a finished run: `result.json`."""

    metric: str
    lower_is_better: bool
    out_of_fold: float
    """Score, in units of the metric."""
    standard_error: float | None = None
    """Standard error of the score; None if there is only one group."""
    accuracy: float | None = None
    """Share of right classes or grades; None if something else is predicted."""
    also: Mapping[str, float] | None = left_out()
    """What says how good the predictions are instead of an accuracy: name -> number."""
    before_finish: float
    """Score before the finishing steps, of the usual decisions."""
    finish: tuple[FinishingStep, ...] = ()
    transductive: str | None = left_out()
    """The step by which the predictions learn from the images that are predicted; None if they do not."""
    clusters: int
    """Number of groups of the scored images; of images if there are no groups."""
    scored_images: int
    scored_groups: int | None = left_out()
    """Number of groups of images that are scored, where each row of the submission is of one."""
    folds_left_out: tuple[int, ...] | None = left_out()
    """Folds that were not trained to end within the budget; their images are not scored."""
    quarantined: int = 0
    """Number of unreadable images, training and test."""
    validation: str
    """Value of the setting: folds, holdout or valid."""
    sample: int = 0
    """Number of images in the sample; 0 for all images."""
    synthetic: bool = False
    """Whether the run is synthetic: its images are drawn."""
    backbones: tuple[str, ...] = ()
    method: str = "features"
    device: str = ""
    """Device that computed the run: cpu or cuda."""
    predicted_on: tuple[str, ...] = ()
    """Devices that computed the predictions."""
    submission_sha256: str = ""
    """SHA-256 of the submission."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> time in seconds."""

    @property
    def loss(self) -> float:
        """Score, negated if higher is better, so that lower is always better."""
        return self.out_of_fold if self.lower_is_better else -self.out_of_fold

    @property
    def all_seconds(self) -> float:
        """Total time of all stages, in seconds."""
        return sum(self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class SweepRecord(Plain):
    """A sweep of the learning-rate finder before a phase: `finder-PHASE.json` in a model's folder."""

    rates: tuple[float, ...]
    """Learning rates, (K,), increasing."""
    losses: tuple[float, ...]
    """Unsmoothed losses, (K,); may include NaN and infinity."""
    stopped: str = ""
    """Reason why the sweep ended."""
    smoothing: float
    """Weight of the previous average in the smoothed loss."""
    suggestions: Mapping[str, float] = field(default_factory=dict)
    """Name -> learning rate; empty if the loss never falls."""


@dataclass(frozen=True, kw_only=True)
class Sent(Plain):
    """The outcome of a run's latest submission: `kaggle.json`, a row of the ledger."""

    reference: int | None = None
    """Kaggle's number of the submission; None until it is known to have arrived."""
    public_score: float | None = None
    private_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class FileRecord(Plain):
    """The state of a file after its stage."""

    stamp: tuple[int, ...]
    """Size in bytes, and modification time in ns."""
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Return the current state of a file."""
        return cls(stamp=tuple(storage.stamp(path)), sha256=storage.file_sha256(path))


@dataclass(frozen=True, kw_only=True)
class Manifest(Plain):
    """The inputs and outputs of a stage: a file in `stages`."""

    made_from: Mapping[str, Any]
    """`run` -> key of the run; for each stage read, name -> {file: SHA-256}, or None without a manifest.

    `own` -> hash of the inputs that no other stage has, if there are any.
    """
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    seconds: float = 0.0
    """Time in seconds."""

    @property
    def hashes(self) -> dict[str, str]:
        """File -> SHA-256."""
        return {name: each.sha256 for name, each in self.files.items()}
