"""Image files: decoding, scanning, and rows on disk by image content."""
