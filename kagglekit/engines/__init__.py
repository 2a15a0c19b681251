"""Shared engines: images, backbones, export, inference, features, heads, folds, finish."""
