"""Networks drawn at random, all methods, held against plain JAX: a differential fuzz.

    python -m tests.random_networks --count N [--seed 0] [--start 0]

TO BE WRITTEN
"""
