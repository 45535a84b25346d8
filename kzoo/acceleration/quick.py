"""Calls of layers without the preparations that they do not need."""

import inspect
from typing import Any

import keras

if keras.config.backend() == "torch":
    from kzoo.acceleration.torch_calls import is_prepared
else:

    def is_prepared(layer: Any, inputs: Any) -> bool:
        """Returns false: where calls are compiled the preparations cost something only when the model is traced."""
        return False


class QuickLayer(keras.layers.Layer):
    """Layer that goes to `call` at once where Keras would change nothing before it.

    Before each call Keras looks for what to convert, cast, build, mask and infer. PyTorch runs layer by layer from
    Python, where that takes longer than a small convolution. Calls that somebody watches or changes (hooks,
    rematerialization, quantization) and inputs that may not fit go Keras's way, whose errors name the layer. Subclasses
    from elsewhere may do in `call` what needs the preparations, and get them.
    """

    makes_spare = False  # whether each call gives a new tensor, which neither the layer nor its gradient needs again
    casts_weights = False  # whether `call` casts weights to the compute dtype itself, or has none to cast
    in_place: str | None = None  # what a call comes to where it may write over a tensor: see `torch_walk.py`
    _quick = False
    _takes_training = False
    _own_call: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._quick = cls.__module__.startswith("kzoo.")
        cls._takes_training = "training" in inspect.signature(cls.call).parameters
        cls._own_call = cls.call

    def fits(self, inputs: Any) -> bool:
        """Returns whether the shapes of one tensor, or a list of them, are surely those that `call` takes."""
        return not isinstance(inputs, list)

    def cast(self, weight: Any) -> Any:
        """Returns a weight, if there is one, in the compute dtype: what Keras does around a call."""
        if weight is None or self.variable_dtype == self.compute_dtype:
            return weight
        return keras.ops.cast(weight, self.compute_dtype)

    def is_as_defined(self) -> bool:
        """Returns whether a call is the class's `call` and nothing else."""
        return (
            self._quick
            and self.built
            and self.input_spec is None
            and self.activity_regularizer is None
            and self._remat_mode is None
            and self.quantization_mode is None
            and "call" not in vars(self)
            and type(self).call is type(self)._own_call
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "mask" in kwargs and kwargs["mask"] is None:  # which functional models pass on where there is none
            del kwargs["mask"]
        training = kwargs.get("training")
        if (
            len(args) == 1
            and len(kwargs) == ("training" in kwargs)
            and (training is not None or not self._takes_training)
            and self.is_as_defined()
            and is_prepared(self, args[0])
            and self.fits(args[0])
        ):
            return self.call(args[0], training=training) if self._takes_training else self.call(args[0])
        return super().__call__(*args, **kwargs)
