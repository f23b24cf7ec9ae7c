"""Which part of each value changes with a window of the image, operation by operation."""
