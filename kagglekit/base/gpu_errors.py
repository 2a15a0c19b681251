"""What errors of a GPU say. Part of every bundle."""

from __future__ import annotations

import re

_SAID = re.compile(r"(?:CUDNN_FE|CUDNN|CUDA|CUBLAS) failure [^;]+|Failed to allocate memory[^.]+|out of memory[^.]*")


def in_a_line(error: object) -> str:
    """Return what an error says, without the C++ around it."""
    text = " ".join(str(error).split())
    said = _SAID.search(text)
    return (said.group().strip() if said else text)[:200]
