"""What a run is once it is made: networks, and what turns their outputs into probabilities.

It is read from the run's folder alone, with no plugin, and can be computed with torch or become one ONNX file.
N images, V views, D features, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kagglekit.base import storage
from kagglekit.base.arrays import Floats, softmax
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.competitions.competition import mirror_classes
from kagglekit.data import folds
from kagglekit.heads import head_file, heads
from kagglekit.heads.layers import Head
from kagglekit.images.decoding import PREPROCESSING_VERSION, Preprocessing
from kagglekit.models import backbone, onnx_export, registry, timm_models
from kagglekit.models.backbone import Backbone
from kagglekit.pipeline import postprocess, tta
from kagglekit.pipeline.methods import features, finetune
from kagglekit.recipe import FeatureSettings
from kagglekit.runs.record import BackboneRecord
from kagglekit.runs.store import Run
from kagglekit.training import checkpoints, phases

if TYPE_CHECKING:
    import onnx
    import torch

WHOLE = "all"
"""The part of a run that predicts the test set; the others predict what they have not seen: `fold0` …"""


@dataclass(frozen=True)
class Network:
    """A backbone as a run uses it: frozen, or with trained weights."""

    name: str
    backbone: Backbone
    weights: Path | None = None
    """Of a trained one."""
    classes: int = 0

    def graph(self) -> onnx.ModelProto:
        """Return its ONNX graph."""
        import onnx

        if self.weights is None:
            return onnx.load(self.backbone.graph)
        model = self.model()
        return onnx.load_from_string(onnx_export.trained(self.backbone, model, model.state_dict()))

    def module(self) -> torch.nn.Module:
        """Return it as torch computes it: uint8 (N, H, W, 3) -> pooled (N, D), logits where there are any."""
        return onnx_export.wrap(self.model(), self.backbone.preprocessing, whole=self.weights is not None)

    def model(self) -> Any:
        """Return it as a timm model, in evaluation mode."""
        if self.weights is None:
            weights = backbone.weights_of(self.backbone)
            return timm_models.load_model(self.backbone.name, weights, self.backbone.preprocessing.size)[0]
        model = timm_models.create(self.backbone.name, self.backbone.preprocessing.size, num_classes=self.classes)
        model.load_state_dict(checkpoints.load_weights(self.weights)[0])
        return model.eval()


class Portable:
    """A finished run."""

    def __init__(self, run: Run, console: Console) -> None:
        """Read a run's folder; raise UserError where it is not finished."""
        run.finished()
        alone = run.alone
        if alone is None:
            raise UserError(f"run {run.id} is not finished: type its command again to go on.")
        self.run = run
        self.record = run.record
        self.recipe = run.recipe
        self.meanings = self.record.competition.classes
        self.labels = self.record.competition.labels
        self.mirror = mirror_classes(self.labels, self.record.competition.flip)
        self.steps = alone.steps
        """Finishing steps that need no other image -> their value."""
        self.left_out = alone.left_out
        """Those that need others, and were kept for the submission."""
        self.out_of_fold = alone.out_of_fold
        """The score without them."""
        self._console = console

    @cached_property
    def backbones(self) -> list[Backbone]:
        """The run's backbones; raises UserError where one is no longer here, or no longer what it was."""
        return [_resolved(spec, record, self.recipe.features, self._console) for spec, record in self._specs()]

    @property
    def made_from(self) -> str:
        """Digest of the files that it is: weights, heads, and what was chosen by them."""
        made = self.run.manifest("finish")
        assert made is not None, "alone.json is a file of this stage"
        return storage.digest(made.made_from, 32)

    def _specs(self) -> Sequence[tuple[str, BackboneRecord]]:
        records = self.record.backbones
        automatic = self.recipe.features.backbone == ("auto",)
        specs = [record.name for record in records] if automatic else self.recipe.features.backbone
        return list(zip(specs, records, strict=True))

    @property
    def trained(self) -> bool:
        """Whether the backbones were trained."""
        return self.recipe.training.method == "finetune"

    @cached_property
    def views(self) -> tuple[str, ...]:
        """The views of an image that are predicted."""
        if not self.trained:
            return features.allowed_views(self.recipe, self.mirror)
        return (tta.PLAIN, tta.MIRROR) if tta.MIRRORED in self.steps else (tta.PLAIN,)

    @property
    def view_classes(self) -> tuple[tuple[int, ...], ...]:
        """For each view, the class that an image of class c shows in it, (V, C)."""
        same = tuple(range(len(self.labels)))
        return tuple(same if view == tta.PLAIN else self.mirror or same for view in self.views)

    @cached_property
    def heads(self) -> dict[str, Head]:
        """Heads on frozen features, by part."""
        return head_file.load(self.run.folder / features.HEADS)

    @property
    def folds(self) -> dict[str, int]:
        """Training image's id -> the fold that scores it; those that only train are left out."""
        fold = self.run.folds()
        scored = fold[fold != folds.TRAIN_ONLY]
        return dict(zip(scored.index.tolist(), scored.tolist(), strict=True))

    def networks(self, part: str = WHOLE) -> list[Network]:
        """Return the networks of a part of the run."""
        if not self.trained:
            return [Network(backbone.name, backbone) for backbone in self.backbones]
        last = phases.of(self.recipe.schedule)[-1].name
        return [
            Network(m.name, m.backbone, self.run.folder / m.folder / f"{last}.safetensors", len(self.labels))
            for m in finetune.members(self.recipe, self.backbones)
            if part in (WHOLE, f"fold{m.fold}")
        ]

    def preprocessings(self) -> dict[str, Preprocessing]:
        """Return what makes each input of the file: its name -> preprocessing; one, unless backbones differ in it."""
        different = list(dict.fromkeys(backbone.preprocessing for backbone in self.backbones))
        if len(different) == 1:
            return {onnx_export.IMAGES: different[0]}
        return {f"{onnx_export.IMAGES}{number}": preprocessing for number, preprocessing in enumerate(different)}

    def combine(self, outputs: Sequence[Sequence[Mapping[str, NDArray[Any]]]], part: str = WHOLE) -> Floats:
        """Return probabilities (N, C) from the outputs of each network in each view, by name (N, …)."""
        if self.trained:
            back = [
                softmax(view["logits"].astype(np.float64))[:, list(classes)]
                for network in outputs
                for view, classes in zip(network, self.view_classes, strict=True)
            ]
            found: Floats = np.mean(back, axis=0)
        else:
            output = self.recipe.features.output
            by_view = [
                np.concatenate([network[place][output] for network in outputs], axis=1)
                for place in range(len(self.views))
            ]
            found = heads.predict(self.heads[part], np.stack(by_view, axis=1), self.view_classes)
        for step, value in self.steps.items():
            if value is not None:
                found = postprocess.STEPS[step][0](found, value)
        return found

    def by_torch(self, images: Mapping[Preprocessing, NDArray[np.uint8]], part: str = WHOLE) -> Floats:
        """Return what torch computes of images, uint8 (N, H, W, 3) for each preprocessing: (N, C)."""
        import torch

        outputs = []
        for network in self.networks(part):
            module, pixels = network.module(), images[network.backbone.preprocessing]
            seen = [pixels if view == tta.PLAIN else np.ascontiguousarray(pixels[:, :, ::-1]) for view in self.views]
            with torch.inference_mode():
                computed = [[rows.numpy() for rows in module(torch.from_numpy(view))] for view in seen]
            outputs.append([dict(zip(("pooled", "logits"), rows, strict=False)) for rows in computed])
        return self.combine(outputs, part)


def _resolved(spec: str, record: BackboneRecord, used: FeatureSettings, console: Console) -> Backbone:
    """Return a backbone again, and make sure that it is the one that the run used."""
    backbone = registry.resolve(spec, used, console.say)
    then = Preprocessing.from_plain(record.preprocessing)
    if backbone.preprocessing != then or record.pixels not in (None, PREPROCESSING_VERSION):
        raise UserError(
            f"backbone {backbone.name}: the timm or kagglekit that is here makes other pixels of an image than the "
            f"run's (timm {record.made_by.get('timm', 'unknown')}): bring that back, or run again."
        )
    if backbone.sha256 != record.sha256:
        raise UserError(
            f"backbone {backbone.name}: its weights are others now (sha256 {backbone.sha256[:12]}) than when the run "
            f"was made ({record.sha256[:12]}): bring those back, or run again."
        )
    return backbone
