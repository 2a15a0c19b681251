"""Heads on frozen features, and the features themselves."""
