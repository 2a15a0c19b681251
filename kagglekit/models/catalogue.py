"""Lists of backbones: installed with kagglekit, in the hub's cache, and on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kagglekit.models.timm_models import cached_weights
from kagglekit.models.weights import EMBEDDED, embedded_file

RECOMMENDED = {
    "tf_efficientnet_lite2": "frozen on a CPU; weights installed with kagglekit",
    "tf_efficientnet_lite1": "frozen on a CPU beside lite2, where there is time; weights installed with kagglekit",
    "tf_efficientnet_lite0": "trained on a CPU; weights installed with kagglekit",
    "mobilenetv4_conv_medium.e500_r256_in1k": "small and fast",
    "efficientvit_b1.r224_in1k": "small and fast, with attention",
    "fastvit_sa12.apple_in1k": "fast, convolutions with attention",
    "resnet50.a1_in1k": "the usual baseline",
    "seresnext50_32x4d.racm_in1k": "a stronger ResNet",
    "regnety_032.ra_in1k": "accurate for its size",
    "densenet121.ra_in1k": "few parameters, little data",
    "hgnetv2_b4.ssld_stage2_ft_in1k": "fast on a GPU",
    "tf_efficientnetv2_s.in21k_ft_in1k": "trained on a GPU, the default there",
    "tf_efficientnetv2_m.in21k_ft_in1k": "frozen on a GPU, one of the defaults there",
    "convnext_tiny.fb_in22k_ft_in1k": "modern convolutions",
    "convnext_base.fb_in22k_ft_in1k_384": "frozen on a GPU, one of the defaults there",
    "caformer_s18.sail_in22k_ft_in1k": "convolutions, then attention",
    "vit_small_patch16_224.augreg_in21k_ft_in1k": "a plain transformer",
    "deit3_small_patch16_224.fb_in22k_ft_in1k": "a plain transformer, trained better",
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": "attention in windows",
    "tiny_vit_21m_224.dist_in22k_ft_in1k": "distilled: strong for its size",
}
"""timm model -> what it is for. Each one's family is exported and compared with torch (`nox -s architectures`)."""


@dataclass(frozen=True)
class Entry:
    """A backbone in the list."""

    name: str
    parameters: int
    bytes: int
    """Size of the weights file; 0 if it is not on this machine."""
    size: int
    """Side of the input in pixels."""
    licence: str

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table row."""
        file = f"{self.bytes / 1e6:.0f} MB" if self.bytes else ""
        return self.name, f"{self.parameters / 1e6:.1f} M", file, f"{self.size} px", self.licence


def installed(pattern: str) -> list[Entry]:
    """Return models whose weights are on this machine: in packages or in the hub's cache."""
    packaged = {name: file for name in EMBEDDED if (file := embedded_file(name)) is not None}
    found = [describe(name, file) for name, file in packaged.items() if _matches(name, pattern)]
    cached = [(name, file) for name in on_hub(pattern) if (file := cached_weights(name)) is not None]
    return found + [describe(name, file) for name, file in cached]


def on_hub(pattern: str) -> list[str]:
    """Return timm's pretrained models whose names contain `pattern`, or match it if it has stars."""
    import timm

    return [str(name) for name in timm.list_pretrained() if _matches(name, pattern)]


def describe(name: str, file: Path | None = None) -> Entry:
    """Return a model's entry; the model is built without allocating weights."""
    import timm
    import torch

    with torch.device("meta"):
        model = timm.create_model(name)
    config = model.pretrained_cfg
    return Entry(
        name=name,
        parameters=sum(p.numel() for p in model.parameters()),
        bytes=file.stat().st_size if file else 0,
        size=int(config["input_size"][-1]),
        licence=str(config.get("license") or "not stated"),
    )


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern if "*" in pattern else f"*{pattern}*")
