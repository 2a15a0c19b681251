"""Fine-tuning: policies, schedules, the learning-rate finder, the loop and its checkpoints."""
