"""Fast paths on jax."""
