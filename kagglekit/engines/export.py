"""From a timm model to an ONNX graph: uint8 images in, pooled features and ImageNet logits out.

N images, H x W pixels, D features, K logits. The graph normalises by itself, so that nobody who runs it
can forget to.
"""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kagglekit import storage
from kagglekit.engines import devices
from kagglekit.engines.backbones import EMBEDDED, Backbone, Weights, exporter, hub_answers
from kagglekit.engines.images import Preprocessing
from kagglekit.errors import UserError

if TYPE_CHECKING:
    import torch

Size = tuple[int, int] | None
"""Height and width; None for the model's own."""
TOLERANCE = 1e-3
"""Largest difference between torch and onnxruntime, relative to the largest output, that a graph is kept with."""


def export(name: str, weights: Weights, image_size: Size, folder: Path) -> Backbone:
    """Load a model, export it below `folder`, check it against torch, and return it as a Backbone.

    Raises UserError where the name is unknown, the weights don't fit or can't be had.
    """
    model, path, licence = load_model(name, weights, image_size)
    stamp = storage.stamp(path)  # before the content: a change in between is noticed next time
    sha256 = storage.file_sha256(path)
    preprocessing = preprocessing_of(model, image_size)
    key = storage.digest([name, sha256, list(preprocessing.size), exporter()])
    graph = folder / f"{name}-{key}.onnx"
    outputs = _write_graph(model, preprocessing, graph)
    return Backbone(
        name=name,
        source=weights.source,
        weights=str(path),
        weights_stamp=(stamp[0], stamp[1]),
        sha256=sha256,
        licence=licence,
        parameters=sum(p.numel() for p in model.parameters()),
        outputs=outputs,
        preprocessing=preprocessing,
        graph=str(graph),
        made_by=exporter(),
    )


def load_model(name: str, weights: Weights, image_size: Size = None) -> tuple[torch.nn.Module, Path, str]:
    """Return (model in evaluation mode, weights file, licence) from a file, a package or the hub."""
    if weights.source == "hub":
        model, path = _load_from_hub(name, image_size)
        return model.eval(), path, str(model.pretrained_cfg.get("license") or "not stated")
    assert weights.path is not None
    if weights.source == "embedded":
        import timm

        model = create(name, image_size)
        # the package names its layers otherwise, in the same order and shapes: values are zipped onto timm's keys
        timm.models.load_checkpoint(model, str(weights.path), remap=True)
    else:
        model = _load_from_file(name, weights.path, image_size)
    return model.eval(), weights.path, weights.licence


def create(name: str, image_size: Size = None, **arguments: Any) -> Any:
    """Create a timm model; raise UserError with the nearest name where there is none of that name."""
    import timm

    bare = name.partition(".")[0]
    if bare not in timm.list_models():
        near = difflib.get_close_matches(bare, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`kagglekit backbones PATTERN` lists them."
        raise UserError(f"no timm model called {name!r}: {hint}")
    try:
        model = timm.create_model(name, **arguments)
        # only models with fixed positions take (and need) the size
        if image_size and hasattr(model, "set_input_size"):
            model.set_input_size(img_size=image_size)
    except RuntimeError as error:
        raise UserError(f"timm can't make {name!r}: {error}") from error
    return model


def _load_from_file(name: str, path: Path, image_size: Size) -> Any:
    import timm

    try:
        state = timm.models.clean_state_dict(timm.models.load_state_dict(str(path), use_ema=False, weights_only=True))
    except Exception as error:
        raise UserError(
            f"{path.name} can't be read as weights ({type(error).__name__}): nothing was unpickled."
        ) from error
    classifier = create(name).pretrained_cfg.get("classifier")
    weight = state.get(f"{classifier}.weight") if isinstance(classifier, str) else None
    model = create(name, num_classes=0 if weight is None else weight.shape[0])
    wrong = model.load_state_dict(state, strict=False) if _same_shapes(model, state) else None
    if wrong is None or wrong.missing_keys or wrong.unexpected_keys:
        raise UserError(
            f"{path.name} does not hold the weights of {name}: names or shapes of its tensors differ. "
            "`kagglekit backbones` lists the models."
        )
    if image_size and hasattr(model, "set_input_size"):
        model.set_input_size(img_size=image_size)
    return model


def _same_shapes(model: Any, state: dict[str, Any]) -> bool:
    own = model.state_dict()
    return all(own[key].shape == value.shape for key, value in state.items() if key in own)


def _load_from_hub(name: str, image_size: Size) -> tuple[Any, Path]:
    """Load through timm from the hub's cache, else from the hub; raise UserError where it does not answer."""
    if not create(name).pretrained_cfg.get("hf_hub_id"):
        raise UserError(f"{name} has no pretrained weights: give a file with --backbone {name}=FILE.")
    cached = cached_weights(name)
    if cached is not None:  # without a word to the hub, which may be out of reach
        return create(name, image_size, pretrained=True, pretrained_cfg_overlay={"file": str(cached)}), cached
    cure = (
        f"go online, give a file with --backbone {name}=FILE, or use one that is installed with kagglekit: "
        f"{', '.join(EMBEDDED)}."
    )
    if not hub_answers():
        raise UserError(f"weights of {name} are not here, and the model hub does not answer: {cure}")
    try:
        model = create(name, image_size, pretrained=True)
    except UserError:
        raise
    except Exception as error:  # the hub's client has changed its library, and with it the errors, twice
        raise UserError(f"weights of {name} can't be had from the model hub ({error!s:.120}): {cure}") from error
    cached = cached_weights(name)
    if cached is None:
        raise RuntimeError(f"{name}: timm loaded weights, and the hub's cache does not hold them")
    return model, cached


def cached_weights(name: str) -> Path | None:
    """Return the weights file of a timm model in the hub's cache, or None."""
    import huggingface_hub
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return None
    for filename in ("model.safetensors", "pytorch_model.bin"):
        found = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, filename)
        if isinstance(found, str):
            return Path(found)  # the name in the cache: the file that it links to has no ending
    return None


def preprocessing_of(model: Any, image_size: Size) -> Preprocessing:
    """Return the model's own preprocessing, at another size where one is given."""
    import timm

    config = timm.data.resolve_model_data_config(model)
    height, width = config["input_size"][1:]
    crops: dict[str, Literal["centre", "squash"]] = {"center": "centre", "squash": "squash"}
    if config["crop_mode"] not in crops:
        raise UserError(f"crop mode {config['crop_mode']!r} of this model is not known: use --backbone with another.")
    return Preprocessing(
        size=image_size or (height, width),
        crop=crops[config["crop_mode"]],
        crop_share=float(config["crop_pct"]),
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _has_plain_classifier(model: Any, preprocessing: Preprocessing) -> bool:
    """Say whether the logits are one layer on the pooled features; distilled and convolutional heads are not."""
    import torch

    pixels = torch.randn(2, 3, *preprocessing.size, generator=torch.Generator().manual_seed(0))
    if not model.num_classes or not isinstance(model.get_classifier(), torch.nn.Module):
        return False
    with torch.inference_mode():
        try:
            logits = model.get_classifier()(model.forward_head(model.forward_features(pixels), pre_logits=True))
        except RuntimeError:
            return False
        whole = model(pixels)
    return bool(logits.shape == whole.shape and torch.allclose(logits, whole, rtol=1e-3, atol=1e-4))


def _wrap(model: Any, preprocessing: Preprocessing) -> torch.nn.Module:
    import torch

    plain_classifier = _has_plain_classifier(model, preprocessing)

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            # in the units of uint8 pixels
            self.pixel_mean: torch.Tensor
            self.pixel_std: torch.Tensor
            self.register_buffer("pixel_mean", 255 * torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
            self.register_buffer("pixel_std", 255 * torch.tensor(preprocessing.std).view(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            pixels = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W)
            pixels = (pixels - self.pixel_mean) / self.pixel_std
            pooled = self.model.forward_head(self.model.forward_features(pixels), pre_logits=True)  # (N, D)
            if not plain_classifier:
                return (pooled,)
            return pooled, self.model.get_classifier()(pooled)  # (N, D), (N, K)

    return Graph().eval()


def _write_graph(model: Any, preprocessing: Preprocessing, path: Path) -> dict[str, int]:
    """Export, check at two batch sizes against torch, and only then give the file its name."""
    import torch

    graph = _wrap(model, preprocessing)
    height, width = preprocessing.size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        expected = graph(images)
    outputs = {name: out.shape[1] for name, out in zip(("pooled", "logits"), expected, strict=False)}
    with storage.replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            torch.onnx.export(
                graph,
                (images[:2],),
                str(temporary),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                input_names=["images"],
                output_names=list(outputs),
                verbose=False,
            )
        for count in (1, 3):
            _compare(temporary, images[:count].numpy(), [out[:count].numpy() for out in expected], path.stem)
    return outputs


def _compare(path: Path, images: Any, expected: list[Any], name: str) -> None:
    import numpy as np

    session, _ = devices.open_session(path, "cpu", devices.cores())
    for torch_out, onnx_out in zip(expected, session.run(None, {"images": images}), strict=True):
        difference = float(np.abs(torch_out - onnx_out).max() / max(np.abs(torch_out).max(), 1e-9))
        if difference > TOLERANCE:
            raise UserError(
                f"{name}: torch and onnxruntime differ by {difference:.2g} of the largest output at batch "
                f"{len(images)}, more than {TOLERANCE}; the exported graph was not kept: use another --backbone."
            )
