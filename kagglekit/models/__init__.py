"""timm models: their weights, their ONNX graphs, and the sessions that compute them."""
