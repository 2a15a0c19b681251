"""The report: one HTML file that shows what a run's model gets right and wrong, and why."""
