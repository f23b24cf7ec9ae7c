"""Layers of a program: their names, the default one, and how one is found."""
