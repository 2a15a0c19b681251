"""Every competition of the list that is declared today: its data as Kaggle has them, a run, and what it submits."""
