"""Several devices, or processes, that train one model together: to the same result as one.

The work is the backend's own: JAX's meshes and processes, TensorFlow's `MirroredStrategy`, PyTorch's process groups.
Here is how they are joined, started and watched, and what is refused because it would not give the same result.
"""

from kzoo.workers.joining import join_workers

__all__ = ["join_workers"]
