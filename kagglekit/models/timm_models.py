"""timm models: their weights from a file, a package or the hub, and the preprocessing that they were trained with."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kagglekit.base.errors import UserError
from kagglekit.images.decoding import Preprocessing
from kagglekit.models import mounted_weights
from kagglekit.models.weights import EMBEDDED, Weights, hub_answers

if TYPE_CHECKING:
    import torch

Size = tuple[int, int] | None
"""Height and width; None for the model's own."""


def load_model(name: str, weights: Weights, image_size: Size = None) -> tuple[torch.nn.Module, Path, str]:
    """Return (model in evaluation mode, weights file, licence) from a file, a package or the hub."""
    if weights.source == "hub":
        model, path = _load_from_hub(name, image_size, weights.path)
        return model.eval(), path, str(model.pretrained_cfg.get("license") or "not stated")
    assert weights.path is not None
    if weights.source == "embedded":
        import timm

        model = create(name, image_size)
        # the package has other layer names in the same order and shapes: values go to timm's keys by position
        timm.models.load_checkpoint(model, str(weights.path), remap=True)
    else:
        model = _load_from_file(name, weights.path, image_size)
    return model.eval(), weights.path, weights.licence


def create(name: str, image_size: Size = None, **arguments: Any) -> Any:
    """Create a timm model; raise UserError with the nearest names if the name is unknown."""
    import timm

    bare = name.partition(".")[0]
    if bare not in timm.list_models():
        near = difflib.get_close_matches(bare, timm.list_models(), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`kagglekit backbones PATTERN` lists them."
        raise UserError(f"no timm model called {name!r}: {hint}")
    try:
        model = timm.create_model(name, **arguments)
        # only models with fixed position embeddings take (and need) the size
        if image_size and hasattr(model, "set_input_size"):
            model.set_input_size(img_size=image_size)
    except RuntimeError as error:
        raise UserError(f"timm can't create {name!r}: {error}") from error
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
        model = _converted(name, path)
    if image_size and hasattr(model, "set_input_size"):
        model.set_input_size(img_size=image_size)
    return model


def _converted(name: str, path: Path) -> Any:
    """Return the model with weights of the project that it comes from, whose names timm knows to translate."""
    try:
        return create(name, pretrained=True, pretrained_cfg_overlay={"file": str(path), "custom_load": False})
    except Exception as error:  # whatever the translation trips over in other weights
        raise UserError(
            f"{path} does not hold the weights of {name}: names or shapes of its tensors differ. "
            f"`kagglekit backbones` lists the models; --backbone {name}=FILE names another file."
        ) from error


def _same_shapes(model: Any, state: dict[str, Any]) -> bool:
    own = model.state_dict()
    return all(own[key].shape == value.shape for key, value in state.items() if key in own)


def _load_from_hub(name: str, image_size: Size, known: Path | None) -> tuple[Any, Path]:
    """Load weights through timm, which converts them if needed, from the hub's cache, else from the hub.

    Raises UserError if the hub does not answer.
    """
    if not create(name).pretrained_cfg.get("hf_hub_id"):
        raise UserError(f"{name} has no pretrained weights: give a file with --backbone {name}=FILE.")
    cached = known or cached_weights(name)
    if cached is not None:  # without contacting the hub, which may be unreachable
        return create(name, image_size, pretrained=True, pretrained_cfg_overlay={"file": str(cached)}), cached
    cure = (
        f"go online, give a file with --backbone {name}=FILE, or use one that is installed with kagglekit: "
        f"{', '.join(EMBEDDED)}."
    )
    if not hub_answers():
        raise UserError(f"weights of {name} are not installed{_nor_in()}, and the model hub does not answer: {cure}")
    try:
        model = create(name, image_size, pretrained=True)
    except UserError:
        raise
    except Exception as error:  # the hub's client has twice changed its HTTP library, and so its errors
        raise UserError(f"weights of {name} can't be downloaded from the model hub ({error!s:.120}): {cure}") from error
    cached = cached_weights(name)
    if cached is None:
        raise RuntimeError(f"{name}: timm loaded weights, and the hub's cache does not hold them")
    return model, cached


def _nor_in() -> str:
    """Say which folders were searched in vain."""
    searched = " or ".join(map(str, mounted_weights.places()))
    return f", nor below {searched}" if searched else ""


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
            return Path(found)  # not resolved: the file that it links to has no extension
    return None


def preprocessing_of(model: Any, image_size: Size) -> Preprocessing:
    """Return the model's own preprocessing, at `image_size` if given."""
    import timm

    config = timm.data.resolve_model_data_config(model)
    height, width = config["input_size"][1:]
    crops: dict[str, Literal["centre", "squash"]] = {"center": "centre", "squash": "squash"}
    if config["crop_mode"] not in crops:
        raise UserError(f"crop mode {config['crop_mode']!r} is not supported: choose another --backbone.")
    return Preprocessing(
        size=image_size or (height, width),
        crop=crops[config["crop_mode"]],
        crop_share=float(config["crop_pct"]),
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
