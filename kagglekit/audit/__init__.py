"""Looking at the data before training: copies, leaks, outliers, label errors."""
