"""Foundations that know no competition: errors, files, the console, processes."""
