"""Functional models on JAX."""

from typing import Any

from kzoo.acceleration import jax_steps
from kzoo.acceleration.jax_workers import WorksInTeams


class AcceleratedModel(WorksInTeams):
    """Functional model whose steps use their memory again.

    Keras makes a step once, and has no public way to hand options to its compiler: each method below compiles the same
    step with them.
    """

    train_function: Any
    test_function: Any
    predict_function: Any

    def make_train_function(self, force: bool = False) -> None:
        if (force or self.train_function is None) and jax_steps.takes(self):
            self.train_function = jax_steps.compiled(self.train_step)
        else:
            super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> None:
        if (force or self.test_function is None) and jax_steps.takes(self):
            self.test_function = jax_steps.compiled(self.test_step)
        else:
            super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        if (not force and self.predict_function is not None) or not jax_steps.takes(self):
            return super().make_predict_function(force)

        def predict_step(state: Any, data: Any) -> Any:
            outputs, non_trainable = self.predict_step(state, data)
            return outputs, (state[0], non_trainable)

        self.predict_function = jax_steps.compiled(predict_step)
        return None
