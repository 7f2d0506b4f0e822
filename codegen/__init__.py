"""Code generation: programs (statements over planned buffers), the passes over them, and what prints and loads them."""
