"""Families of models become graphs that agree with torch at any batch, frozen and with a head of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from kagglekit.models import catalogue, earlier_layers, onnx_export, registry, sessions, timm_models, weights
from kagglekit.models.backbone import LAYERS

SMALL = ("test_convnext", "test_efficientnet", "test_mambaout", "test_resnet", "test_vit")
"""timm's models for tests: a few blocks of a family each."""
SMALL_TOO = ("test_byobnet", "test_nfnet", "test_vit2")
"""More of them, for when there is time."""
FAMILIES = {
    "tf_efficientnet_lite0": ("tf_efficientnet_lite",),
    "mobilenetv4_conv_small_050": ("mobilenetv4",),
    "efficientvit_b0": ("efficientvit_b",),
    "fastvit_t8": ("fastvit",),
    "resnet18": ("resnet",),
    "seresnext26d_32x4d": ("seresnext",),
    "regnety_002": ("regnety",),
    "densenet121": ("densenet",),
    "hgnetv2_b0": ("hgnetv2",),
    "tf_efficientnetv2_b0": ("tf_efficientnetv2",),
    "convnext_atto": ("convnext",),
    "caformer_s18": ("caformer",),
    "vit_tiny_patch16_224": ("vit_",),
    "deit3_small_patch16_224": ("deit3",),
    "swin_tiny_patch4_window7_224": ("swin_",),
    "tiny_vit_5m_224": ("tiny_vit",),
}
"""The smallest model of each recommended family -> how the family's names begin."""
WHOLE = "KAGGLEKIT_ARCHITECTURES" in os.environ


def test_every_recommended_model_is_of_a_tested_family_and_has_weights() -> None:
    starts = tuple(start for family in FAMILIES.values() for start in family)
    pretrained = set(timm.list_pretrained())
    for name in catalogue.RECOMMENDED:
        assert name.startswith(starts), name
        assert name in pretrained | set(weights.EMBEDDED), name
    defaults = (registry.DEFAULT_CPU, registry.DEFAULT_GPU, registry.DEFAULT_TRAINED_CPU)
    used = {spec.partition("@")[0] for specs in (*defaults, registry.DEFAULT_TRAINED_GPU) for spec in specs}
    assert used <= set(catalogue.RECOMMENDED)
    assert len(FAMILIES) >= 10


@pytest.mark.usefixtures("all_earlier_layers")
@pytest.mark.parametrize("name", [*SMALL, *((*SMALL_TOO, *FAMILIES) if WHOLE else ())])
def test_a_family_is_exported_and_agrees_with_torch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), tmp_path / "weights.safetensors")
    found = weights.locate(name, str(tmp_path / "weights.safetensors"))
    size = None if WHOLE else (64, 64)
    backbone = onnx_export.export(name, found, size, tmp_path)
    model = timm_models.create(name, size, num_classes=7).eval()
    graph = onnx_export.trained(backbone, model, model.state_dict())
    trained = sessions.Session(graph, "cpu", 2)
    frozen = sessions.Session(Path(backbone.graph), "cpu", 2)
    pretrained = timm_models.load_model(name, found, size)[0]
    wrapped = onnx_export.wrap(model, backbone.preprocessing, whole=True)
    images = torch.randint(0, 256, (64, *backbone.preprocessing.size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = [rows.numpy() for rows in wrapped(images)]
        pooled, _, layers = (rows.numpy() for rows in onnx_export.wrap(pretrained, backbone.preprocessing)(images))
    for batch in (1, 3, 64):
        feeds = {"images": images[:batch].numpy()}
        for found, rows in zip(trained.run(("pooled", "logits"), feeds), expected, strict=True):
            assert agree(found, rows[:batch])
        for found, rows in zip(frozen.run(("pooled", LAYERS), feeds), (pooled, layers), strict=True):
            assert agree(found, rows[:batch])


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet50", (512, 1024)),  # two stages before the last
        ("convnext_tiny", (192, 384)),
        ("vit_small_patch16_224", (384, 384)),  # of twelve blocks the sixth and the ninth
    ],
)
def test_earlier_layers_are_two_before_the_last(name: str, widths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = timm.create_model(name).eval()
        _, found = earlier_layers.maps(model, torch.zeros(2, 3, 224, 224))
        rows = earlier_layers.pooled(found)
    assert tuple(each.shape[1] for each in found) == widths
    assert rows.shape == (2, sum(widths))


@pytest.mark.usefixtures("all_earlier_layers")
def test_a_model_of_several_branches_has_no_earlier_layers() -> None:
    model = timm.create_model("crossvit_9_240").eval()
    assert not earlier_layers.are_given(model, torch.zeros(1, 3, 240, 240))


def agree(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 1e-4 * max(np.abs(expected).max(), 1.0))
