"""What makes kzoo's own models fast beyond a single operation, and the one room for private names.

Each acceleration is a file, or a class in one, that says in an `Acceleration` what it does, what it brings, and the
versions that it is known for. With other versions, without the private names that it needs, or when its check at first
use fails, it is off, and the model runs by its definition. Nothing of Keras or a backend is ever replaced: kzoo's
models are of a subclass of `keras.Model`, which overrides what Keras calls on a model.

| file | what it does |
|---|---|
| `registry.py` | which accelerations there are, which are on, and why the others are off |
| `process.py` | what must be the whole process's, and is done only where asked for: allocator, oneDNN in TensorFlow |
| `quick.py`, `torch_calls.py` | layers that go to `call` at once where Keras would prepare nothing |
| `torch_walk.py`, `torch_model.py` | functional models on PyTorch that run by a plan made once |
| `torch_observers.py` | who else sees the operations of PyTorch |
| `torch_norm.py`, `torch_packed.py`, `torch_steps.py` | operations of PyTorch without a public name |
| `tensorflow_gradients.py` | gradients of one's own on TensorFlow that leave nothing behind |
| `tensorflow_batches.py`, `tensorflow_model.py` | functional models on TensorFlow whose pipelines are not tuned |
| `jax_steps.py`, `jax_model.py` | steps on JAX that use their memory again |
| `jax_once.py` | results that XLA computes once, whoever reads them |
| `jax_products.py` | products in forms of kzoo's that have all derivatives of JAX |
| `jax_onednn.py` | convolutions and matrix products of the oneDNN inside jaxlib |
| `optimizer.py` | an optimizer that may step all weights at once |
| `names.py` | other private names that kzoo reads |
"""
