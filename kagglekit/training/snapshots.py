"""Saving and restoring the state of a training: around trial steps, at checkpoints, after a failed phase."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kagglekit.base.distributed import World

if TYPE_CHECKING:
    import torch


class TrainingState:
    """All that steps change: a model, its optimiser and averaged weights, fp16's loss scale, the random state."""

    def __init__(self, model: Any, optimiser: torch.optim.Optimizer, average: Any, world: World) -> None:
        """Hold the state of a model before its first step; `average` is timm's `ModelEmaV3` of it, or None."""
        self.model, self.optimiser, self.average = model, optimiser, average
        self.steps = 0
        self._world = world
        world.reset_scaler()  # discard the loss scale that fp16 found for another model

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Restore everything when the block ends, bit for bit; steps in the block do not update the average."""
        scaler, steps = copy.deepcopy(self._world.scaler_state()), self.steps
        average, self.average = self.average, None
        try:
            with restored(self.model, self.optimiser):
                yield
        finally:
            self._world.load_scaler(scaler)
            self.average, self.steps = average, steps

    @property
    def predicts(self) -> Any:
        """The model to predict with: the average if there is one."""
        return self.model if self.average is None else self.average.module

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights to predict with; the next step changes them."""
        state: dict[str, torch.Tensor] = self.predicts.state_dict()
        return state

    def copied_weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the weights to predict with."""
        return {name: value.clone() for name, value in self.weights().items()}

    def load_weights(self, weights: Any) -> None:
        """Replace the weights."""
        self.model.load_state_dict(weights)
        if self.average is not None:
            self.average.module.load_state_dict(weights)

    def forget_steps(self) -> None:
        """Reset the optimiser's moments and fp16's loss scale, after steps that are undone and may have been NaN."""
        self.optimiser.state.clear()
        self._world.reset_scaler()

    def checkpoint(self) -> dict[str, Any]:
        """Return the state needed to resume with the same results; no random state, since each step has its seed."""
        return {
            "steps": self.steps,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": None if self.average is None else self.average.module.state_dict(),
            "scaler": self._world.scaler_state(),
        }

    def load_checkpoint(self, kept: dict[str, Any]) -> None:
        """Restore a state that `checkpoint` returned."""
        self.steps = kept["steps"]
        self.model.load_state_dict(kept["model"])
        self.optimiser.load_state_dict(kept["optimiser"])
        if self.average is not None:
            self.average.module.load_state_dict(kept["ema"])
        self._world.load_scaler(kept["scaler"])


@contextlib.contextmanager
def restored(model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Restore everything, bit for bit, when the block ends, even with an error.

    That is the model's parameters, buffers, gradients, requires_grad and training flags, the optimiser's state and
    groups, and the random state of Python, numpy and torch (every GPU, once CUDA is in use). Other state
    that the block uses is not restored: its own generators, a gradient scaler, averaged weights.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(_random_state())
        stack.callback(_optimiser_state(optimiser))
        stack.callback(_model_state(model))
        yield


Restore = Callable[[], None]


def _random_state() -> Restore:
    import torch

    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.set_rng_state(cpu)
        if gpus is not None:
            torch.cuda.set_rng_state_all(gpus)

    return restore


def _model_state(model: torch.nn.Module) -> Restore:
    modes = [(module, module.training) for module in model.modules()]
    tensors = [
        (module, name, tensor)
        for module in model.modules()
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    ]
    values = [_kept(tensor) for _, _, tensor in tensors]
    parameters = [(p, p.requires_grad, p.grad, _kept(p.grad)) for p in model.parameters()]

    def restore() -> None:
        for (module, name, tensor), value in zip(tensors, values, strict=True):
            if getattr(module, name) is not tensor:  # replaced, not changed
                setattr(module, name, tensor)
            value()
        for parameter, learns, gradient, value in parameters:
            parameter.requires_grad_(learns)
            parameter.grad = gradient
            value()
        for module, training in modes:
            module.training = training

    return restore


def _optimiser_state(optimiser: torch.optim.Optimizer) -> Restore:
    # not state_dict: loading one casts the state to its parameter's type
    state = {parameter: dict(values) for parameter, values in optimiser.state.items()}
    groups = [(group, dict(group)) for group in optimiser.param_groups]
    values = [_kept(value) for kept in (*state.values(), *(kept for _, kept in groups)) for value in kept.values()]

    def restore() -> None:
        optimiser.state.clear()
        optimiser.state.update({parameter: dict(kept) for parameter, kept in state.items()})
        for group, kept in groups:
            group.clear()
            group.update(kept)
        optimiser.param_groups[:] = [group for group, _ in groups]
        for value in values:
            value()

    return restore


def _kept(value: Any) -> Restore:
    """Return a function that restores a tensor's current values; other values are never changed in place.

    The copy is in main memory: a GPU may have no room for a second model.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        return lambda: None
    saved = value.detach().to("cpu", copy=True)

    def restore() -> None:
        with torch.no_grad():
            value.copy_(saved)

    return restore
