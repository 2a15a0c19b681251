"""Measurements as ratios to a named rival or limit in the same run: `nox -s bench`."""
