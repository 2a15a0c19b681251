"""A stand-in for a CUDA GPU: real torch and onnxruntime run on it, and its kernels compute nothing.

It is five libraries in C, built from the functions in this folder and, for all others that torch and onnxruntime ask
for, functions that only say that they succeeded. A program that has them in `LD_PRELOAD` sees a GPU. Its memory is the
host's and copies are made. What is bound, in which shapes, and what happens after a failure is real; results are not.

Environment variables make it fail: `STANDIN_OLD_DRIVER` (the driver is older than the CUDA of the wheels),
`STANDIN_NO_CUDNN` (cuDNN can't start), `STANDIN_PLANS_FAIL` (convolutions can't run), `STANDIN_MEMORY` (bytes in all).
`STANDIN_GPUS` is the number of GPUs.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

_VERSIONED = re.compile(r"lib(cudart|cublas|cublasLt|cudnn|curand)\.so\.\d+")
_OF_DRIVER = "libcuda.so.1"


def lacks() -> str:
    """Return why the stand-in can't be built on this machine; empty if it can."""
    missing = [tool for tool in ("gcc", "nm") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}"
    return "" if _provider().is_file() else "needs onnxruntime-gpu on Linux"


def build(folder: Path) -> dict[str, str]:
    """Build the libraries in a folder; return the environment variables that make a program use them."""
    for library, names in _asked_for().items():
        _compile(folder, library, names)
    libraries = sorted(folder.glob("lib*.so.*"))
    # onnxruntime looks for it by this name
    (folder / "libcudnn.so").symlink_to(next(path for path in libraries if "cudnn" in path.name))
    return {"LD_PRELOAD": ":".join(map(str, libraries)), "LD_LIBRARY_PATH": str(folder)}


def _provider() -> Path:
    return _site("onnxruntime") / "capi" / "libonnxruntime_providers_cuda.so"


def _site(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _asked_for() -> dict[str, set[str]]:
    """Return the functions of each library that torch and onnxruntime ask for."""
    found: dict[str, set[str]] = defaultdict(set)
    for user in (_provider(), *(_site("torch") / "lib").glob("*.so")):
        listed = subprocess.run(["nm", "-D", "--undefined-only", user], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            name, _, version = line.split()[-1].partition("@")
            if _VERSIONED.fullmatch(version):
                found[version].add(name)
            elif not version and re.match(r"cu(?!File)[A-Z]", name):
                found[_OF_DRIVER].add(name)
    # those that it looks up by name
    (cudnn,) = [library for library in found if "cudnn" in library]
    found[cudnn].update(name.decode() for name in re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", _provider().read_bytes()))
    return found


def _compile(folder: Path, library: str, names: set[str]) -> None:
    stem = library.removeprefix("lib").partition(".")[0]
    own = Path(__file__).with_name(f"{stem}.c")
    written = own.read_text() if own.is_file() else ""
    others = sorted(names - set(re.findall(r"\b(_*cu\w+)\(", written)))
    source, exported = folder / f"{stem}.c", folder / f"{stem}.map"
    source.write_text("#include <stdlib.h>\n" + written + "".join(map(_filler, others)))
    exported.write_text(f"{library} {{ global: *; }};\n" if library != _OF_DRIVER else "{ global: *; };\n")
    flags = ["-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{library}", f"-Wl,--version-script={exported}"]
    subprocess.run(["gcc", *flags, "-o", folder / library, source], check=True)


def _filler(name: str) -> str:
    if re.fullmatch(r"cudnnCreate\w+Descriptor", name):
        return f"int {name}(void **to) {{ *to = calloc(1, 64); return 0; }}\n"
    return f"int {name}(void) {{ return 0; }}\n"
