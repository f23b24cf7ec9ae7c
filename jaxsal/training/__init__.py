"""Training of the study's CNN: its step, its loop, its devices, what is kept of it."""
