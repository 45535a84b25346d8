"""Several devices, or processes, that train one model together: to the same result as one.

The work is the backend's own: JAX's meshes and processes, TensorFlow's `MirroredStrategy`, PyTorch's process groups.
Here is how they are joined, started and watched, and what is refused because it would not give the same result.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.workers.joining import join_workers
else:
    __getattr__, __dir__ = lazily(__name__, {"joining": ["join_workers"]})

__all__ = ["join_workers"]
