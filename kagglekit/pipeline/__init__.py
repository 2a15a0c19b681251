"""One run, as a straight line: from a name to a validated submission."""
