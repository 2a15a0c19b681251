"""The report of 1,600 and 16,000 different images: time, peak memory, size, and the time to open it in a browser."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import dataset
from benchmarks.timing import machine

NAME = "dogs-vs-cats"


def command(home: Path, *words: str) -> tuple[float, float]:
    """Run a command in a separate process. Return its time in seconds and its peak memory in MB."""
    environment = os.environ | {"KAGGLEKIT_HOME": str(home)}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "kagglekit", *words], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"kagglekit {' '.join(words)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def opened(page: Path) -> str:
    """Describe how long headless Chromium takes to show a page with all pictures."""
    path = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if path is None:
        return "no Chromium is here"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        tab.goto(page.as_uri())
        loaded = time.perf_counter() - started
        tab.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        tab.wait_for_function("[...document.images].every((image) => image.complete)")
        whole = time.perf_counter() - started
        browser.close()
    return f"opens in {loaded:.2f} s, with all pictures in {whole:.2f} s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--backbone", default="tf_efficientnet_lite0")
    options.add_argument("--copies", type=int, nargs="+", default=[1, 10])
    options.add_argument("--page", type=Path, help="only open this page")
    chosen = options.parse_args()
    print(machine())
    if chosen.page:
        print(f"  {chosen.page.stat().st_size / 1e6:.1f} MB, {opened(chosen.page.resolve())}")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for copies in chosen.copies:
            data, home = dataset(folder / str(copies), copies), folder / "home"
            count = sum(1 for _ in data.rglob("*.jpg"))
            command(home, "run", NAME, "--data", str(data), "--backbone", chosen.backbone, "--no-report")
            run = max((home / NAME / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
            seconds, memory = command(home, "report", run.name)
            page = run / "report.html"
            print(
                f"  {count:6} images: {seconds:.1f} s, {memory:.0f} MB at most, {page.stat().st_size / 1e6:.1f} MB, "
                f"{opened(page)}",
                flush=True,
            )
            shutil.rmtree(data)


if __name__ == "__main__":
    main()
