"""For authors of plugins: a first plugin, and the test that it keeps its contract."""
