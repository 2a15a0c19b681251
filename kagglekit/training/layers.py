"""A model's layers from first to last: which are trained, and at which learning rates.

All parameter groups are built up front. Freezing a layer later does not change the structure of the optimiser, so
a resumed run can load its state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Trained = Literal["head", "late", "later", "all"]


@dataclass(frozen=True)
class Layers:
    """The layer that each parameter belongs to."""

    of: Mapping[str, int]
    """Parameter name -> layer; 0 is the stem."""
    head: int
    """The last layer: the classifier and what timm groups with it."""
    late: int
    """The first layer of the last stage."""
    later: int
    """The first layer of the later half of the stages."""
    fixed: frozenset[str] = frozenset()
    """Parameters that the model itself never trains, such as position tables."""

    @classmethod
    def read(cls, model: torch.nn.Module) -> Layers:
        """Read the layers from timm's `group_matcher`: blocks are layers, stages are groups of layers."""
        from timm.models import group_parameters

        matcher: Any = model.group_matcher
        blocks = group_parameters(model, matcher(coarse=False), reverse=True)
        stages = group_parameters(model, matcher(coarse=True), reverse=True)
        head = max(blocks.values())
        body = [name for name, block in blocks.items() if block < head]
        ordered = sorted({stages[name] for name in body})

        def first(some: Sequence[int]) -> int:
            return int(min((blocks[name] for name in body if stages[name] in some), default=head))

        fixed = frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)
        return cls(blocks, head, first(ordered[-1:]), first(ordered[len(ordered) // 2 :]), fixed)

    def first(self, part: Trained) -> int:
        """Return the first layer of a part of the model."""
        return {"head": self.head, "late": self.late, "later": self.later, "all": 0}[part]


def scales(layers: Layers, rates: Sequence[float], decay: float) -> list[float]:
    """Return each layer's rate relative to the head's: `rates` spread evenly over the body, or layer-wise decay."""
    if decay:
        return [decay ** (layers.head - layer) for layer in range(layers.head + 1)]
    *body, head = rates
    if not body:
        return [head] * (layers.head + 1)
    return [body[layer * len(body) // layers.head] for layer in range(layers.head)] + [head]


def optimiser_groups(model: torch.nn.Module, layers: Layers, weight_decay: float) -> list[dict[str, Any]]:
    """Return one parameter group per layer and kind: weight decay applies to weights, not to norms and biases."""
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    listed: Any = getattr(model, "no_weight_decay", set)
    undecayed = listed()  # such as position tables
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and name not in undecayed
        group = groups.setdefault(
            (layers.of[name], decays),
            {"params": [], "layer": layers.of[name], "weight_decay": weight_decay if decays else 0.0},
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def freeze(model: torch.nn.Module, layers: Layers, part: Trained) -> None:
    """Freeze all layers but those of `part`."""
    first = layers.first(part)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(layers.of[name] >= first and name not in layers.fixed)


def set_mode(model: torch.nn.Module, batch_norm: str) -> None:
    """Set training mode, except for batch norms with frozen weights: their statistics stay fixed.

    If the setting `batch_norm` is `frozen`, the statistics of all batch norms stay fixed.
    """
    import torch

    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            frozen = module.weight is not None and not module.weight.requires_grad
            if frozen or batch_norm == "frozen":
                module.eval()


def set_rates(optimiser: Any, rate: float, relative: Sequence[float]) -> None:
    """Set each group's learning rate to its layer's share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * relative[group["layer"]]
