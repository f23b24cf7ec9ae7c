"""Phantoms, brain MRI sets, and their way to the device."""
