"""What a competition's images are like before anything is trained on them: the audit, and the list of drops."""
