"""Which functions of a program are ReLUs, and which others have a kink."""
