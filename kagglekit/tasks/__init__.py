"""What is predicted: targets, which plugins declare, and tasks, which know all that depends on them."""
