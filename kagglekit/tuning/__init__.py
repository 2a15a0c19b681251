"""Tuning: a study of settings on Optuna, and an estimate of the winner by folds that did not choose it."""
