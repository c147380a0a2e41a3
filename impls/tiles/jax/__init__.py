"""Which of JAX's devices compute tiles, and what lies on them."""
