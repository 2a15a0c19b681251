"""Pack drawn files as Kaggle does."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from kagglekit.competitions.synthetic.plan import Plan

_WHEN = (2020, 1, 1, 0, 0, 0)


def write(path: Path, members: Mapping[str, bytes], planned: Plan) -> None:
    """Write the archive; if training and test images have separate folders, one zip per folder."""
    parts = ({one.path for one in planned.labelled}, {one.path for one in planned.test})
    tops = [{name.partition("/")[0] for name in part if "/" in name} for part in parts]
    nested = all(tops) and not tops[0] & tops[1]
    outer: dict[str, bytes] = {}
    inner: dict[str, dict[str, bytes]] = {}
    for name, content in members.items():
        if nested and "/" in name and any(name in part for part in parts):
            inner.setdefault(name.partition("/")[0], {})[name] = content
        else:
            outer[name] = content
    path.write_bytes(_zip(outer | {f"{top}.zip": _zip(files) for top, files in inner.items()}))


def _zip(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive as bytes. The same members give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in sorted(members.items()):
            info = zipfile.ZipInfo(name, _WHEN)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, member)
    return content.getvalue()
