import numpy as np
import pytest
from keras import ops

from kzoo.ops import bits, dropout_key, dropout_mask

# Salmon et al., 2011, Random123: kat_vectors, threefry2x32 with 20 rounds.
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def int32(value):
    return ops.convert_to_tensor(int(np.uint32(value).astype(np.int32)), dtype="int32")


def unsigned(tensor):
    return int(ops.convert_to_numpy(tensor)) & 0xFFFFFFFF


def lowbias32(x):
    """Wellons's C function, in Python integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D & 0xFFFFFFFF
    x ^= x >> 15
    x = x * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_threefry_gives_its_known_answers(key, counter, expected):
    answer = bits.threefry2x32(tuple(map(int32, key)), tuple(map(int32, counter)))
    assert tuple(map(unsigned, answer)) == expected


def test_keyed_hash_is_lowbias32_of_the_sum_times_the_odd_factor():
    counters = np.array([0, 1, 2, 3, 1_000_000, 2**31 - 1], np.int32)
    hashed = ops.convert_to_numpy(
        bits.keyed_hash((int32(0xDEADBEEF), int32(0x12345678)), ops.convert_to_tensor(counters))
    )
    expected = [lowbias32((int(c) + 0xDEADBEEF) & 0xFFFFFFFF) * 0x12345679 & 0xFFFFFFFF for c in counters]
    assert [int(h) & 0xFFFFFFFF for h in hashed] == expected


def test_dropout_mask_is_the_known_one():
    mask = ops.convert_to_numpy(dropout_mask((int32(7), int32(9)), (3, 5), 0.5))
    low_and_high = [lowbias32(c + 7) * 9 & 0xFFFFFFFF for c in range(8)]
    values = [h & 0xFFFF for h in low_and_high] + [h >> 16 for h in low_and_high]
    np.testing.assert_array_equal(mask, np.reshape(np.array(values[:15]) >= 0x8000, (3, 5)))


def mask_of(layer, step, rate=0.3, size=1 << 18):
    key = dropout_key(layer, ops.convert_to_tensor(step, dtype="int32"))
    return ops.convert_to_numpy(dropout_mask(key, (size,), rate)).astype(float)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_dropout_mask_meets_the_rate(rate):
    mask = mask_of((11, -22), 3, rate)
    deviation = (rate * (1 - rate) / len(mask)) ** 0.5
    assert abs((1 - mask.mean()) - rate) < 4 * deviation


@pytest.mark.parametrize("distance", [1, 2, 16, 64, 1024, 1 << 17])
def test_dropout_mask_is_independent_between_neighbours(distance):
    mask = mask_of((11, -22), 3)
    assert abs(np.corrcoef(mask[:-distance], mask[distance:])[0, 1]) < 4 / len(mask[distance:]) ** 0.5


@pytest.mark.parametrize(("layer", "step"), [((11, -22), 4), ((11, -22), 1003), ((11, -21), 3), ((12, -22), 3)])
def test_dropout_mask_is_independent_between_steps_and_layers(layer, step):
    first, other = mask_of((11, -22), 3), mask_of(layer, step)
    assert abs(np.corrcoef(first, other)[0, 1]) < 4 / len(first) ** 0.5


def test_dropout_mask_rows_pass_a_chi_squared_test():
    counts = mask_of((5, 6), 0, 0.5, 1 << 18).reshape(-1, 4) @ [1, 2, 4, 8]
    observed = np.bincount(counts.astype(int), minlength=16)
    expected = len(counts) / 16
    assert ((observed - expected) ** 2 / expected).sum() < 37.7  # 15 degrees of freedom, p = 0.001
