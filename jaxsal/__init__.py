"""jaxsal: a saliency compiler for JAX."""
