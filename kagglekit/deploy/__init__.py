"""A finished run elsewhere: as one ONNX file, over any images, in a notebook without network."""
