"""How a model and a method become programs: taken apart, checked, planned, placed and run."""
