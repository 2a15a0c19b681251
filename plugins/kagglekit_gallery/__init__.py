"""Competitions that a description says in full: a module each."""
