"""A transformers model whose insides have names. Knows nothing of pictures."""
