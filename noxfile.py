"""What is checked, and how: `nox -l` lists the sessions, `nox` runs those that every change must pass.

Sessions run in the environment that nox itself runs in (README's second command makes it): an environment
a session would install torch several times over.
"""

import os
import sys
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; `nox -s tests -- -k folds` runs some of them."""
    # one file's tests share its fixtures; conftest puts the longest files first, not those with the most tests
    workers = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run(sys.executable, "-m", "pytest", *workers, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style with ruff, and with import-linter that imports run down the house."""
    session.run(sys.executable, "-m", "ruff", "check", ".")
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".")
    session.run(str(Path(sys.executable).with_name("lint-imports")), "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    session.run(sys.executable, "-m", "mypy")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Regenerate the generated parts of README and guide: help pages, settings, imports; the tests check them."""
    pages = sorted(map(str, Path("kagglekit", "guide").glob("*.md")))
    session.run(sys.executable, "-m", "cogapp", "-r", "README.md", "pyproject.toml", *pages)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against named rivals and limits; let nothing else run meanwhile."""
    for name in session.posargs or (
        "startup",
        "features",
        "heads",
        "rerun",
        "parity",
        "memory",
        "training",
        "predict",
        "audit",
        "report",
    ):
        session.run(sys.executable, "-m", f"benchmarks.{name}")


@nox.session(default=False)
def architectures(session: nox.Session) -> None:
    """Export a model of every family that is recommended, and compare it with torch: some minutes."""
    session.run(sys.executable, "-m", "pytest", "tests/test_architectures.py", env={"KAGGLEKIT_ARCHITECTURES": "all"})


@nox.session(default=False)
def rival(session: nox.Session) -> None:
    """Measure training beside fastai, which is installed in an environment of its own: some GB, the first time."""
    session.run(sys.executable, "-m", "benchmarks.fastai_rival", *session.posargs)


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA GPU, and measure training on it, in ten minutes or less."""
    session.run(sys.executable, "-m", "pytest", "tests/test_gpu.py")
    session.run(sys.executable, "-m", "benchmarks.gpu", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Kill runs at thirty random moments, one on real photographs and a training, go on to the end, compare bytes.

    It also does what the usual tests leave out because it takes long: several processes, and default settings.
    """
    folder = tempfile.mkdtemp(prefix="kagglekit-soak-")
    environment = {"KAGGLEKIT_KILLS": os.environ.get("KAGGLEKIT_KILLS", "30")}
    files = ("tests/test_kills.py", "tests/test_resume.py", "tests/test_processes.py", "tests/test_late_commands.py")
    files += ("tests/test_damage_machine.py", "tests/test_kaggle_real.py")
    session.run(sys.executable, "-m", "pytest", *files, "-s", f"--basetemp={folder}", env=environment)
