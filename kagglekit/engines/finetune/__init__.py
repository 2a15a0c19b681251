"""Fine-tuning: the backbone itself is trained, in steps."""
