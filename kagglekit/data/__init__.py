"""From an archive or a folder to tables of images, and the folds they are split into."""
