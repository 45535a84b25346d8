"""Counter-based random bits in int32 arithmetic that wraps around, the same on every backend, eager or compiled.

Unsigned integers do not exist on all of them (uint32 becomes int64 on PyTorch, and JAX has no int64 by default), so a
logical shift is an arithmetic one with the sign bits masked off.

References:
    - [Salmon et al., 2011](https://doi.org/10.1145/2063384.2063405): the Threefry cipher (2x32, 20 rounds)
    - [Wellons, 2018](https://nullprogram.com/blog/2018/07/31/): the lowbias32 hash, judged the best of its cost by
      [Jarzynski & Olano, 2020](https://jcgt.org/published/0009/03/02/)
    - [Dietzfelbinger et al., 1997](https://doi.org/10.1006/jagm.1997.0873): multiply-shift hashing, with an odd factor
"""

from typing import Any

from keras import ops

Tensor = Any

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_ROUNDS = 20
_PARITY = 0x1BD11BDA


def shift_right(x: Tensor, bits: int) -> Tensor:
    """Shifts int32 right by 1 to 31 bits and fills with zeros."""
    return ops.right_shift(x, bits) & ((1 << (32 - bits)) - 1)


def threefry2x32(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Encrypts a counter: Threefry-2x32 with 20 rounds.

    A loop, because XLA takes minutes to compile the unrolled rounds for a CPU.

    Args:
        key: Two int32 tensors.
        counter: Two int32 tensors, shaped as `key`.

    Returns:
        Two int32 tensors of random bits.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    none = ops.zeros_like(keys[0])
    injected: tuple[list[Tensor], list[Tensor]] = ([], [])  # what each round adds: a key after every fourth
    for done in range(1, _ROUNDS + 1):
        group = done // 4
        injected[0].append(none if done % 4 else keys[group % 3])
        injected[1].append(none if done % 4 else keys[(group + 1) % 3] + group)
    add_x, add_y = ops.stack(injected[0]), ops.stack(injected[1])
    left = ops.convert_to_tensor([_ROTATIONS[i % 8] for i in range(_ROUNDS)], dtype="int32")
    low_bits = ops.convert_to_tensor([(1 << _ROTATIONS[i % 8]) - 1 for i in range(_ROUNDS)], dtype="int32")

    def encrypt_round(i: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, y = state
        x = x + y
        y = ops.left_shift(y, left[i]) | (ops.right_shift(y, 32 - left[i]) & low_bits[i])
        return x + add_x[i], (y ^ x) + add_y[i]

    x, y = ops.fori_loop(0, _ROUNDS, encrypt_round, (counter[0] + keys[0], counter[1] + keys[1]))
    return x, y


def keyed_hash(key: tuple[Tensor, Tensor], counter: Tensor) -> Tensor:
    """Hashes counters under a key: lowbias32 of `counter + key[0]`, then times `key[1]` made odd.

    The sum alone would let two keys share shifted masks; the odd factor keeps those apart.

    Args:
        key: Two int32 scalar tensors of random bits.
        counter: int32 tensor, any shape.

    Returns:
        int32 tensor of random bits, shaped as `counter`. The high bits are the better ones.
    """
    x = counter + key[0]
    x = x ^ shift_right(x, 16)
    x = x * 0x7FEB352D
    x = x ^ shift_right(x, 15)
    x = x * -0x7B935975  # 0x846CA68B as int32
    x = x ^ shift_right(x, 16)
    return x * (key[1] | 1)
