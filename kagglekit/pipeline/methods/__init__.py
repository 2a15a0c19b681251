"""The ways from images to probabilities by id."""
