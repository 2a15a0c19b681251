"""What the JSON files of a run's folder hold; keys of newer versions are kept, those of older ones have defaults.

The files' names are in `filenames`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from kagglekit.base import storage
from kagglekit.base.environment import Machine
from kagglekit.base.errors import UserError
from kagglekit.base.plain import Plain, left_out

Kind = TypeVar("Kind", bound=Plain)


def read(path: Path, kind: type[Kind]) -> Kind | None:
    """Return what a file holds, None where there is no file; raise UserError where it lacks keys."""
    plain = storage.read_json(path)
    try:
        return None if plain is None else kind.from_plain(plain)
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or remove {path.parent}.") from error


def write(path: Path, value: Plain) -> None:
    """Write a file whole."""
    storage.write_json(path, value.to_plain())


@dataclass(frozen=True, kw_only=True)
class CompetitionRecord(Plain):
    """The competition as its plugin described it when the run was made."""

    name: str
    kaggle: str = ""
    """Its address at Kaggle; empty for one that is not there."""
    classes: Mapping[str, str]
    """Label -> name for people, in the order of probabilities."""
    train: str = ""
    """Where training images lie and what labels them, as Python writes it; so are `valid`, `groups`, `submission`."""
    valid: str = ""
    test: tuple[str, ...] = ()
    """Patterns of the test images' paths."""
    groups: str = ""
    flip: Literal["allowed", "forbidden"] | Mapping[str, str]
    """Whether images may be mirrored, or class -> the class that a mirrored image shows."""
    submission: str = ""
    metric: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of probabilities."""
        return tuple(self.classes)


@dataclass(frozen=True, kw_only=True)
class BackboneRecord(Plain):
    """A backbone that the run used."""

    name: str
    """timm's model name."""
    source: str = ""
    """Where the weights come from."""
    sha256: str
    """Of the weights' file."""
    licence: str = ""
    parameters: int = 0
    """Number of parameters."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Output of its graph -> width."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    """Versions of what exported its graph."""
    preprocessing: Mapping[str, Any]
    """What its input is made by, for `Preprocessing.from_plain`."""
    pixels: int | None = left_out()
    """Version of the code that made pixels; older runs do not say it."""


@dataclass(frozen=True, kw_only=True)
class Record(Plain):
    """What a run is made from: `run.json`, written before the run is made."""

    competition: CompetitionRecord
    leaderboard: Mapping[str, float] = field(default_factory=dict)
    """Known lines of the leaderboard -> their score."""
    bundle: Mapping[str, Any] = field(default_factory=dict)
    """What a bundle must know of the competition, as `bundle.json` holds it."""
    backbones: tuple[BackboneRecord, ...] = ()
    batch_size: int = 0
    """Images that were computed together."""
    train_images: int = 0
    test_images: int = 0
    dropped: int = 0
    """Training images that the user's list left out."""
    seed: int = 0
    synthetic: bool = False
    """Whether it is a rehearsal on drawn images."""
    started: str = ""
    """When the first command began, in local time."""
    gone_on: int = 0
    """How many commands have gone on with it since."""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version, of those that are installed."""
    machine: Machine = field(default_factory=Machine)
    git_commit: str = ""
    """Of the folder that the command was typed in; empty where it is in no repository."""

    @property
    def own_hooks(self) -> tuple[str, ...]:
        """Hooks of the plugin that a bundle can't take along."""
        return tuple(self.bundle.get("own_hooks", ()))


@dataclass(frozen=True, kw_only=True)
class FinishingStep(Plain):
    """A finishing step, what it gained, and whether it was kept; numbers are in the metric's units."""

    step: str
    value: float | None
    """The step's parameter; None where it has none."""
    before: float
    """The score without it."""
    after: float
    """The score with it, its parameter chosen on other rows than those that are scored."""
    gain: float
    """Above zero is better."""
    low: float
    """Lower bound of the gain."""
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Alone(Plain):
    """What an exported file does, which sees one image at a time: `alone.json`."""

    steps: Mapping[str, float | None]
    """Finishing steps that need no other image -> their value."""
    left_out: tuple[str, ...] = ()
    """Those that need others, and were kept for the submission."""
    out_of_fold: float
    """The score without them."""


@dataclass(frozen=True, kw_only=True)
class Provider(Plain):
    """What something was computed on: `provider.json` of a run and of each fine-tuned model."""

    asked: str = ""
    """What the recipe asked for."""
    used: str
    """What was used: cpu or cuda."""
    features: tuple[str, ...] | None = left_out()
    """What the features that fine-tuning starts from were computed on."""


@dataclass(frozen=True, kw_only=True)
class Result(Plain):
    """The closing numbers of a finished run: `result.json`."""

    metric: str
    lower_is_better: bool
    out_of_fold: float
    """The score, in the metric's units."""
    standard_error: float | None = None
    """Of the score; None where there is one group only."""
    accuracy: float
    before_finish: float
    """The score before finishing steps."""
    finish: tuple[FinishingStep, ...] = ()
    clusters: int
    """Groups of the scored images, or images where there are none."""
    scored_images: int
    quarantined: int = 0
    """Images that can't be read, of training and test."""
    validation: str
    """The setting: folds, holdout or valid."""
    sample: int = 0
    """Images that the run was made on; 0 for all."""
    synthetic: bool = False
    """Whether it is a rehearsal on drawn images."""
    backbones: tuple[str, ...] = ()
    method: str = "features"
    device: str = ""
    """What the run was computed on: cpu or cuda."""
    predicted_on: tuple[str, ...] = ()
    """What its predictions were computed on."""
    submission_sha256: str = ""
    """Of the submission's bytes."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Stage -> how long it took."""

    @property
    def loss(self) -> float:
        """The score, or its negative where higher is better: less is better."""
        return self.out_of_fold if self.lower_is_better else -self.out_of_fold

    @property
    def all_seconds(self) -> float:
        """How long all stages took."""
        return sum(self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class SweepRecord(Plain):
    """What the learning-rate finder saw before a phase: `finder-PHASE.json` in a model's folder."""

    rates: tuple[float, ...]
    """(K,) rising."""
    losses: tuple[float, ...]
    """(K,) as they came, NaN and infinity included."""
    stopped: str = ""
    """Why the sweep ended."""
    smoothing: float
    """Share of the average so far that each smoothed loss keeps."""
    suggestions: Mapping[str, float] = field(default_factory=dict)
    """Name -> learning rate; empty where the losses have no fall."""


@dataclass(frozen=True, kw_only=True)
class Sent(Plain):
    """What came of a run's latest submission: `kaggle.json`, a row of the ledger."""

    reference: int | None = None
    """Kaggle's number; None while it is not known to have arrived."""
    public_score: float | None = None
    private_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class FileRecord(Plain):
    """A file as a stage left it."""

    stamp: tuple[int, ...]
    """Size in bytes, and time of change in ns."""
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Return a file as it is now."""
        return cls(stamp=tuple(storage.stamp(path)), sha256=storage.file_sha256(path))


@dataclass(frozen=True, kw_only=True)
class Manifest(Plain):
    """What a stage left, and what it was made from: a file in `stages`."""

    made_from: Mapping[str, Any]
    """`run` -> the run's key; each stage whose files were read -> file -> SHA-256, None where there was none."""
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it took."""

    @property
    def hashes(self) -> dict[str, str]:
        """File -> SHA-256."""
        return {name: each.sha256 for name, each in self.files.items()}


@dataclass(frozen=True, kw_only=True)
class Decision(Plain):
    """What depends on the machine or the moment, as it was decided once for a run."""

    device: str
    backbones: tuple[str, ...]
    """What names them for `registry.resolve`."""
    reason: str
    """Why these; empty where the user named them."""
    settings: Mapping[str, Any]
    """Settings of the recipe that were settled."""
    why: str
    """Why so."""
    batch_size: int
    """Images that are computed together."""
    when: str
    """Date and time, local."""
