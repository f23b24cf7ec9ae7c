"""How the axes of an image are followed through a program."""
