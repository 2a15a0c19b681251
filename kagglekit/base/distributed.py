"""Training in one or several processes, through Hugging Face Accelerate.

`accelerate launch -m kagglekit run …` (one machine or many) or `--processes N` starts several. All of them execute
the same run; only the first one writes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from kagglekit.base import devices, gpu, interrupts
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from kagglekit.base.shortlists import Wide

Row = TypeVar("Row")
_USE_CPU = "ACCELERATE_USE_CPU"
_LAUNCHER = "KAGGLEKIT_LAUNCHER"
"""Environment variable with the process id of the command that started this process."""
_PR_SET_PDEATHSIG = 1
_PATIENCE = timedelta(days=2)
"""How long processes wait for the first one, which may unpack archives."""


def count() -> int:
    """Return the number of processes of this run, without importing anything."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's rank; 0 is the one that writes."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Return whether this process is the one that writes."""
    return rank() == 0


def console() -> Console:
    """Return a console that prints in the first process only."""
    return Console() if is_first() else Console(open(os.devnull, "w", encoding="utf-8"))


def launch(processes: int, provider: str) -> int:
    """Run this same command in several processes on this machine; return the exit code.

    Raises UserError if there are fewer GPUs than processes.
    """
    gpus = devices.cuda_gpus() if gpu.choose(provider) == "cuda" else 0
    if gpus and processes > gpus:
        raise UserError(f"--processes {processes}: this machine has {gpus} GPUs; use --processes {gpus}.")
    command = [sys.executable, "-m", "kagglekit", *_without_processes(sys.argv[1:])]
    world = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        interrupts.QUIET: "1",
        _LAUNCHER: str(os.getpid()),
        "OMP_NUM_THREADS": str(max(devices.cores() // processes, 1)),
    }
    if not gpus:
        world[_USE_CPU] = "true"
    running = [
        # in a new session only this process gets the terminal's Ctrl-C; it passes it on once
        subprocess.Popen(
            command, env=os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, start_new_session=True
        )
        for rank in range(processes)
    ]
    try:
        with interrupts.deferred() as stop_requested:
            return _wait_for(running, stop_requested)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()


def end_with_launcher() -> None:
    """Make this process end when the command that started it ends for any reason (Linux only)."""
    if _LAUNCHER not in os.environ or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(os.environ[_LAUNCHER]):  # the launcher has ended already
        sys.exit(1)


def _wait_for(running: Sequence[subprocess.Popen[bytes]], stop_requested: Callable[[], bool]) -> int:
    """Return 0 once all have succeeded, or the first failure's code at once: the others would wait for ever."""
    told = False
    while True:
        if stop_requested() and not told:
            told = True
            for process in running:
                if sys.platform != "win32":  # there, the console's Ctrl-C has reached them already
                    process.send_signal(signal.SIGINT)
        codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        if failed and not (told and None in codes):  # after Ctrl-C the first process still saves
            return failed[0]
        if all(code == 0 for code in codes):
            return 0
        try:
            running[codes.index(None)].wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _without_processes(words: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--processes":
            skip = True
        elif not word.startswith("--processes="):
            kept.append(word)
    return kept


@contextmanager
def first_goes_first() -> Iterator[None]:
    """Run the block in the first process, then in the others, which reuse its results.

    If it fails in the first process, which says why, the others exit.
    """
    if count() > 1 and not is_first():
        state = _join()
        try:
            state.wait_for_everyone()
        except RuntimeError:  # the connection is closed
            sys.exit(1)
    yield
    if count() > 1 and is_first():
        _join().wait_for_everyone()


def agree(value: Any) -> Any:
    """Return the first process's value in every process."""
    if count() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    _join()
    return broadcast_object_list([value])[0]


def leave() -> None:
    """Wait for the other processes and leave the group: without this, exiting may abort in a thread."""
    if count() > 1:
        state = _join()
        state.wait_for_everyone()
        state.destroy_process_group()


def _join() -> Any:
    """Join the process group."""
    from accelerate import PartialState

    on_cpu = os.environ.get(_USE_CPU) == "true" or gpu.choose("auto") == "cpu"
    return PartialState(cpu=on_cpu, timeout=_PATIENCE)


class World:
    """The processes that train together, their device and precision."""

    def __init__(self, device: devices.Device, precision: str) -> None:
        """Join the other processes, if any; `precision` is float32, bf16 or fp16."""
        from accelerate import Accelerator

        if count() > 1:
            _join()
        mixed = "no" if precision == "float32" else precision
        self._accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed)
        self.rank = int(self._accelerator.process_index)
        self.size = int(self._accelerator.num_processes)
        self.device: torch.device = self._accelerator.device
        if self.device.type != device:  # the device was fixed when the processes joined
            raise UserError(
                f"provider = {device!r}: with several processes, set it on the command line: --provider {device}."
            )
        self._fresh_scale = self.scaler_state()

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def prepare(self, model: Any, optimiser: Any) -> tuple[Any, Any]:
        """Return the model and optimiser, wrapped for distributed training and mixed precision."""
        if self.size > 1:
            from accelerate.utils import DistributedDataParallelKwargs

            # layers are frozen and unfrozen between phases, and each phase prepares again
            self._accelerator.ddp_handler = DistributedDataParallelKwargs(broadcast_buffers=False)
        with warnings.catch_warnings():
            # newer versions of torch renamed it; accelerate still uses the old name
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            prepared: tuple[Any, Any] = self._accelerator.prepare(model, optimiser)
        return prepared

    def release(self) -> None:
        """Release the wrapped model and optimiser."""
        self._accelerator.free_memory()

    def unwrap(self, model: Any) -> Any:
        """Return the model that `prepare` wrapped."""
        return self._accelerator.unwrap_model(model, keep_fp32_wrapper=False)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the chosen precision inside the block."""
        block: AbstractContextManager[Any] = self._accelerator.autocast()
        return block

    def backward(self, loss: torch.Tensor) -> None:
        """Compute gradients, with loss scaling for fp16."""
        self._accelerator.backward(loss)

    @contextmanager
    def alone(self, model: Any) -> Iterator[None]:
        """Inside the block, accumulate gradients without synchronising them across processes."""
        with self._accelerator.no_sync(model):
            yield

    def clip(self, parameters: Sequence[torch.nn.Parameter], length: float) -> None:
        """Clip the gradient norm to `length`."""
        self._accelerator.clip_grad_norm_(parameters, length)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes, (P * N, …), in rank order."""
        gathered: torch.Tensor = self._accelerator.gather(rows)
        return gathered

    def own_share(self, rows: Sequence[Row]) -> list[Row]:
        """Return this process's share of N rows: every P-th row, ceil(N / P) in total, as `all_rows` needs.

        If N is not a multiple of P, rows from the start pad the last round.
        """
        padded = -(-len(rows) // self.size) * self.size
        return [rows[turn % len(rows)] for turn in range(self.rank, padded, self.size)]

    def all_rows(self, rows: NDArray[Any], count: int) -> NDArray[Any]:
        """Gather the results of each process for its `own_share` of `count` rows: (N / P, X) -> (N, X)."""
        if self.size == 1:
            return rows[:count]
        import torch

        gathered = self.gather(torch.from_numpy(rows).to(self.device)).cpu().numpy()  # grouped by process
        in_order: NDArray[Any] = gathered.reshape(self.size, len(rows), -1).swapaxes(0, 1).reshape(-1, rows.shape[1])
        return in_order[:count]

    def all_predictions(self, rows: Wide, count: int) -> Wide:
        """Gather predictions as `all_rows` does."""
        from kagglekit.base.shortlists import Shortlists

        if isinstance(rows, Shortlists):
            return Shortlists.unpacked(self.all_rows(rows.packed(), count), rows.columns)
        return self.all_rows(rows, count)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Return a value's mean over the processes."""
        reduced: torch.Tensor = self._accelerator.reduce(value, reduction="mean")
        return reduced

    def share_buffers(self, model: torch.nn.Module) -> None:
        """Set every process's buffers, such as batch-norm statistics, to their mean over the processes.

        Otherwise each process would predict with, and save, a different model.
        """
        import torch

        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if self.size == 1 or not buffers:
            return
        means = self.mean(torch.cat([buffer.flatten() for buffer in buffers]))
        pieces = torch.split(means, [buffer.numel() for buffer in buffers])
        with torch.no_grad():
            for buffer, values in zip(buffers, pieces, strict=True):
                buffer.copy_(values.view_as(buffer))

    def scaler_state(self) -> dict[str, Any] | None:
        """Return the state of fp16's gradient scaler; None without one."""
        scaler = self._accelerator.scaler
        return None if scaler is None else scaler.state_dict()

    def reset_scaler(self) -> None:
        """Reset fp16's gradient scaler to its initial state."""
        self.load_scaler(self._fresh_scale)

    def load_scaler(self, state: dict[str, Any] | None) -> None:
        """Restore a state that `scaler_state` returned."""
        if state is not None and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    def any_of(self, *flags: bool) -> list[bool]:
        """Return for each flag whether any process has set it: processes must act alike, or they wait for ever."""
        import torch

        if self.size == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.float32, device=self.device)
        return [count > 0 for count in self._accelerator.reduce(counts, reduction="sum").tolist()]

    def wait(self) -> None:
        """Wait until all processes reach this point."""
        self._accelerator.wait_for_everyone()
