"""Malformed inputs of every kind to every public function and to the command."""
