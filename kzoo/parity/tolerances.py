"""How far apart two recordings may be, and why."""

from typing import NamedTuple


class Tolerance(NamedTuple):
    """The largest `max |a - b| / max |a|` of a tensor, or the largest fraction of its booleans that differ.

    It is 0 where bits must agree, `None` where nothing can be asked.
    """

    float64: float | None
    float32: float | None
    reason: str


# In the order in which a training computes them, so that the first one that fails is nearest to the cause.
TOLERANCES = {
    "initial weights": Tolerance(0, 0, "drawn by NumPy from counters, then copied"),
    "batches": Tolerance(0, 0, "drawn by NumPy from counters; pixels are integers"),
    "masks": Tolerance(0, 0, "32-bit integer arithmetic, the same on every backend"),
    "layers": Tolerance(1e-9, 1e-4, "moments of each channel; float32 rounds at 6e-8 and 20 layers add up"),
    "active units": Tolerance(0, 1e-4, "outputs of rectifiers above 0; float32 rounds some that are within 1e-6 of it"),
    "logits": Tolerance(1e-9, 1e-5, "of one forward pass: rounding, in another order of summation"),
    "gradients": Tolerance(1e-9, 1e-4, "of one backward pass; jump by 1e-2 where a unit is active on one side only"),
    "batch statistics": Tolerance(1e-9, 1e-4, "means over the same positions as the gradients"),
    "learning rates": Tolerance(0, 0, "computed by Python in float64, looked up, rounded once"),
    "first update": Tolerance(1e-9, 0.1, "as the gradients; the compiled step may round other units across 0"),
    "losses": Tolerance(
        1e-9, None, "rounding grows with each step, little at a rate of 0.01: 1e-12 or less in 50 steps"
    ),
    "final weights": Tolerance(1e-9, None, "as the losses"),
    "predictions": Tolerance(1e-9, None, "as the losses"),
    "early stopping": Tolerance(0, 0, "epochs are integers, and the scripted losses are the same"),
    "drift": Tolerance(None, None, "shows how chaos multiplies rounding; nothing can be asked of it"),
}

# What jumps where a unit is active on one side only, which float32 lets happen, and how far: 0.012 was measured.
DISCONTINUOUS = {"gradients": 0.1}
