"""What kagglekit does with a CUDA GPU, on a stand-in: what fails there is real, what it computes is not."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import standin

pytestmark = pytest.mark.skipif(bool(standin.lacks()), reason=standin.lacks())


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which a program sees a GPU."""
    return standin.build(tmp_path_factory.mktemp("standin"))


def run(gpu: dict[str, str], home: Path, script: str, **variables: str) -> str:
    """Run a script where there is a GPU; return what it prints."""
    before = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_")}
    known = before | gpu | variables | {"KAGGLEKIT_HOME": str(home)}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all("CUDACachingAllocator" in line for line in done.stderr.splitlines()), "torch tells of memory itself"
    # without torch's, onnxruntime tries NVIDIA's own libraries, which do not go with these
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("Failed to load"))


CHOICE = """
    from kagglekit.base import gpu
    from kagglekit.base.errors import UserError
    print(gpu.choose("auto", print))
    try:
        print(gpu.choose("cuda"))
    except UserError as error:
        print(error)
"""


def test_a_gpu_that_computes_is_chosen_and_remembered(gpu: dict[str, str], tmp_path: Path) -> None:
    assert run(gpu, tmp_path, CHOICE) == "cuda\ncuda\n"
    again = "import sys; from kagglekit.base import gpu; print(gpu.choose('auto'), 'torch' in sys.modules)"
    assert run(gpu, tmp_path, again) == "cuda False\n", "the next command does not look again"
    (tmp_path / ".cache" / "gpu.json").write_text("damaged")
    assert run(gpu, tmp_path, again) == "cuda True\n"
    assert run(gpu, tmp_path, again) == "cuda False\n"


@pytest.mark.parametrize(
    ("failure", "what", "cure"),
    [
        ("STANDIN_OLD_DRIVER", "can't use the GPU: the driver is too old for its CUDA 13", "update the NVIDIA driver"),
        ("STANDIN_NO_CUDNN", "can't compute on the GPU: CUDNN failure", "install kagglekit again"),
        ("STANDIN_PLANS_FAIL", "can't compute on the GPU: CUDNN_FE failure", "install kagglekit again"),
        ("STANDIN_MEMORY", "the GPU's memory is full", "end other programs that use the GPU"),
    ],
)
def test_a_gpu_that_can_not_compute_is_not_chosen(
    failure: str, what: str, cure: str, gpu: dict[str, str], tmp_path: Path
) -> None:
    warning, chosen, error = run(gpu, tmp_path, CHOICE, **{failure: "100000"}).splitlines()
    assert chosen == "cpu"
    assert warning.startswith("there is a GPU, but ")
    assert what in warning
    assert warning.endswith(f": computing on the CPU; to use it, {cure}")
    assert error.startswith("provider = 'cuda': ")
    assert error.endswith(f"; {cure}, or use --provider cpu.")
    assert run(gpu, tmp_path, CHOICE) == "cuda\ncuda\n", "what fails is looked at again"


GRAPH = """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from kagglekit.base.errors import UserError
    from kagglekit.models import sessions

    def graph(kind):
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3, 64, 64]) for n in ("x", "y"))
        weights = [numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")] if kind == "Conv" else []
        node = helper.make_node(kind, ["x", *(w.name for w in weights)], ["y"])
        made = helper.make_graph([node], "g", [x], [y], weights)
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
"""


def test_batches_of_many_threads_are_bound_to_the_right_rows(gpu: dict[str, str], tmp_path: Path) -> None:
    """A copy is what the stand-in computes."""
    script = """
    from concurrent.futures import ThreadPoolExecutor
    session = sessions.open_on(graph("Identity"), "cuda", 1, print)
    random = np.random.default_rng(0)
    batches = [random.normal(size=(random.integers(1, 20), 3, 64, 64)).astype(np.float32) for _ in range(200)]
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda rows: session.run(["y"], {"x": rows})[0], batches))
    print(session.device, all((a == b).all() and a.shape == b.shape for a, b in zip(batches, found)))
    """
    assert run(gpu, tmp_path, GRAPH + script) == "cuda True\n"


def test_all_gpus_compute(gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    from concurrent.futures import ThreadPoolExecutor
    session = sessions.open_on(graph("Identity"), "cuda", 1, print)
    batches = [np.full((4, 3, 64, 64), number, np.float32) for number in range(30)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda rows: session.run(["y"], {"x": rows})[0], batches))
    places = [one.free[4].get()._there["x"].device for one in session._gpus]
    print(*places, all((a == b).all() for a, b in zip(batches, found)))
    """
    assert run(gpu, tmp_path, GRAPH + script, STANDIN_GPUS="2") == "cuda:0 cuda:1 True\n"


def test_a_batch_that_does_not_fit_is_halved(gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    session = sessions.open_on(graph("Identity"), "cuda", 1, print)
    rows = np.random.default_rng(0).normal(size=(1000, 3, 64, 64)).astype(np.float32)
    print((session.run(["y"], {"x": rows})[0] == rows).all())
    """
    assert run(gpu, tmp_path, GRAPH + script, STANDIN_MEMORY=str(40 << 20)) == "True\n", "of 49 MB"


def test_a_session_that_fails_later_says_so_and_does_not_move_to_the_cpu(gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    import os
    session = sessions.open_on(graph("Conv"), "auto", 1, print)
    os.environ["STANDIN_PLANS_FAIL"] = "1"
    try:
        session.run(["y"], {"x": np.ones((4, 3, 64, 64), np.float32)})
    except UserError as error:
        print(error)
    print(session.device)
    """
    error, device = run(gpu, tmp_path, GRAPH + script).splitlines()
    assert error.startswith("the GPU can't compute (CUDNN_FE failure")
    assert error.endswith("): end other programs that use it, or use --provider cpu.")
    assert device == "cuda"


def test_what_the_gpu_leaves_to_the_cpu_is_said(gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    x, y = (helper.make_tensor_value_info(n, TensorProto.INT32, ["N", 8]) for n in ("x", "y"))
    weights = numpy_helper.from_array(np.ones((8, 8), np.int32), "w")
    made = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    sessions.open_on(whole, "auto", 1, print)
    sessions.open_on(graph("Conv"), "auto", 1, print)
    """
    said = "onnxruntime computes MatMul on the CPU, since it has no CUDA for them: this is slow\n"
    assert run(gpu, tmp_path, GRAPH + script) == said


BUNDLED = (
    GRAPH
    + """
    import os, sys
    from pathlib import Path
    from kagglekit.deploy.bundled_model import Model

    def saved(kind):
        import onnx

        loaded = onnx.load_from_string(graph(kind))
        loaded.graph.node[0].output[0] = loaded.graph.output[0].name = "probabilities"
        path = Path(os.environ["KAGGLEKIT_HOME"]) / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(loaded, path)
        return path

    rows = np.ones((4, 3, 64, 64), np.float32)
    model = Model(saved("Conv"))
    """
)


def test_a_bundle_says_when_its_gpu_fails_and_goes_on(gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    print(model.on_gpu)
    os.environ["STANDIN_PLANS_FAIL"] = "1"
    print(model.run({"x": rows}).max(), model.on_gpu)
    """
    before, warning, after = run(gpu, tmp_path, BUNDLED + script).splitlines()
    assert before == "True"
    assert warning.startswith("WARNING: there is a GPU, but it can't compute (")
    assert after == "3.0 False", "computed by the CPU"


@pytest.mark.parametrize("failure", ["STANDIN_OLD_DRIVER", "STANDIN_NO_CUDNN"])
def test_a_bundle_says_that_its_gpu_can_not_be_opened(failure: str, gpu: dict[str, str], tmp_path: Path) -> None:
    script = """
    print(model.run({"x": rows}).max(), model.on_gpu)
    """
    warning, after = run(gpu, tmp_path, BUNDLED + script, **{failure: "1"}).splitlines()
    assert warning.startswith("WARNING: there is a GPU, but it can't compute (")
    assert after == "3.0 False"
