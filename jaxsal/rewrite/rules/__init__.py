"""Rules that replace one operation by a faster form; `jaxsal.rewrite.optimize` lists them."""
