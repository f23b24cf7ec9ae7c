"""Maps and measures to pictures."""
