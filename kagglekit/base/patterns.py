"""Path patterns such as `train/{label}.{number}.jpg`: literal text with `{placeholders}`.

A placeholder matches a path component or part of one, never a slash; with a slash at its end, as `{id/}`, it matches
several components. Literal text is case-insensitive, because
`.JPG` and `.jpg` mean the same format.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from kagglekit.base import image_names

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(/?)\}")
_COLUMN = re.compile(r"\{([^{}]+)\}")


def placeholders(pattern: str) -> tuple[str, ...]:
    """Return the names between braces, in order."""
    return tuple(name for name, _ in _PLACEHOLDER.findall(pattern))


def check(pattern: str, required: str) -> None:
    """Raise ValueError unless `pattern` is a relative path that has the placeholder `required` once."""
    names = placeholders(pattern)
    if "{" in _PLACEHOLDER.sub("", pattern) or "}" in _PLACEHOLDER.sub("", pattern):
        raise ValueError(f"{pattern!r} has an unbalanced brace or a placeholder that is not lower-case letters")
    if names.count(required) != 1 or len(set(names)) != len(names):
        raise ValueError(f"{pattern!r} must have {{{required}}} exactly once, and no placeholder twice")
    check_relative(pattern)


def check_relative(path: str) -> None:
    """Raise ValueError unless `path` is below the data folder."""
    if path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} must be a path below the data folder, with forward slashes")


def check_images(pattern: str, required: str) -> None:
    """Raise ValueError unless `pattern` can match image files and has the placeholder `required` once."""
    check(pattern, required)
    if not pattern.endswith("}") and not image_names.is_image(pattern):
        raise ValueError(
            f"{pattern!r} matches no image: it must end in a placeholder or an image extension, for example .jpg"
        )


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile to a regular expression for whole relative paths with forward slashes."""
    parts: list[str] = []
    end = 0
    for match in _PLACEHOLDER.finditer(pattern):
        parts.append(_literal(pattern[end : match.start()]))
        parts.append(f"(?P<{match[1]}>[^/]+{'(?:/[^/]+)*' if match[2] else ''})")
        end = match.end()
    parts.append(_literal(pattern[end:]))
    return re.compile("".join(parts))


def _literal(text: str) -> str:
    return f"(?i:{re.escape(text)})" if text else ""


def folder_of(pattern: str) -> str:
    """Return the folder before the first placeholder: `imgs/train` for `imgs/train/{label}`."""
    head, _, _ = pattern.partition("{")
    return head.rpartition("/")[0]


def columns(text: str) -> list[str]:
    """Return the columns that a text names: it is one itself, or joins several: `{patient}_{side}`."""
    return _COLUMN.findall(text) or [text]


def check_columns(text: str) -> None:
    """Raise ValueError for a text that joins columns and has a brace too many."""
    if any(brace in _COLUMN.sub("", text) for brace in "{}"):
        raise ValueError(f"{text!r} has an unbalanced brace: write {{column}} for each column that is joined")


def joined(text: str, cells: Mapping[str, str]) -> str:
    """Return the cell that a text which joins columns stands for, from those of the columns."""
    return _COLUMN.sub(lambda found: cells[found[1]], text) if "{" in text else cells[text]
