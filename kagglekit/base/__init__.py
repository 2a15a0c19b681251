"""What everything stands on: errors, files, the console, processes, metrics; it knows no competition."""
