"""What image libraries print themselves is kept off the terminal; nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kagglekit.base import native_output
from tests import drawing


def test_lines_of_image_libraries_are_caught_and_all_others_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with native_output.decoders_silenced() as lines:
        os.write(2, b"libpng warning: iCCP: known incorrect sRGB profile\nout of memory\n")
        print("from Python", file=sys.stderr)
        os.write(2, b"Corrupt JPEG data: 6 extraneous bytes before marker 0xd9\n")
    assert lines == [
        "libpng warning: iCCP: known incorrect sRGB profile",
        "Corrupt JPEG data: 6 extraneous bytes before marker 0xd9",
    ]
    assert sorted(capfd.readouterr().err.splitlines()) == ["from Python", "out of memory"]


def test_after_an_error_in_the_block_everything_is_printed_again(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="this one"), native_output.decoders_silenced():
        raise ValueError("this one")
    os.write(2, b"libpng warning: shown\n")
    assert capfd.readouterr().err == "libpng warning: shown\n"


SCAN = """
import sys
from pathlib import Path
from kagglekit.base.console import Console
from kagglekit.images import scan

folder = Path(sys.argv[1])
paths = [str(path) for path in sorted(folder.glob("*.jpg"))]
found = scan.scan(paths, folder, 100, 4, Console(), training=len(paths))
assert not found.unreadable
print("after", file=sys.stderr)
"""


def test_warnings_about_readable_files_are_told_once_and_counted(tmp_path: Path) -> None:
    for number in range(5):
        photo = drawing.image(0, number)
        (tmp_path / f"{number}.jpg").write_bytes(photo[:-2] + b"abcdef" + photo[-2:])
    command = [sys.executable, "-c", SCAN, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said = "scan: image libraries printed 5 messages, for example: Corrupt JPEG data: "
    assert done.stdout.count("messages") == 1
    assert said in done.stdout
    assert done.stderr == "after\n"
