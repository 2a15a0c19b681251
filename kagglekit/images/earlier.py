"""Images that earlier versions decoded to other pixels: to caches they are other images."""

from __future__ import annotations

from PIL import Image

from kagglekit.images import decoding, depth, opening


def is_read_otherwise(content: bytes) -> bool:
    """Return whether earlier versions decoded an image to other pixels, so that it is another image to caches."""
    if content.startswith(opening.JPEG):
        return False
    was_turned = any(text in content for text in _TURNED_BY_TEXT)
    if not was_turned and not content.startswith((*opening.TIFF, *opening.PNM)) and content[4:8] != b"ftyp":
        return False
    try:
        image = opening.opened(opening.bare(content))
        if image is None:
            return False
        return (was_turned and opening.is_transparent(image)) or _is_shown_otherwise(content, image)
    except Exception:  # noqa: BLE001  damaged, so there are no pixels
        return False


_TURNED_BY_TEXT = (b"tiff:Orientation", b"Raw profile type exif")
"""What turned transparent images, which Pillow decodes, in earlier versions."""


def _is_shown_otherwise(content: bytes, image: Image.Image) -> bool:
    if image.format == "TIFF":
        return depth.sample_type(content, image) == "int16" or (image.mode == "RGBA" and not opening.has_alpha(image))
    return decoding.is_left_to_pillow(content, image)
