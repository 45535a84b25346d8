"""Sweeps: the same training over a grid of settings and seeds, and what came of it.

What is left can be read without Keras, which is imported when the first training begins.
"""

from typing import TYPE_CHECKING

from kzoo.lazy import lazily

if TYPE_CHECKING:
    from kzoo.sweeps.record import Member, Sweep
    from kzoo.sweeps.running import sweep
else:
    __getattr__, __dir__ = lazily(__name__, {"record": ["Member", "Sweep"], "running": ["sweep"]})

__all__ = ["Member", "Sweep", "sweep"]
