import numpy as np
import pytest

from kzoo.streams import key_words, stream


def test_stream_draws_the_same_again():
    assert np.array_equal(stream(7, "order", 2).permutation(100), stream(7, "order", 2).permutation(100))


@pytest.mark.parametrize(
    "other",
    [
        (8, "order", 2, 1),
        (7, "augment", 2, 1),
        (7, "order", 3, 1),
        (7, "order", 1, 2),
        (7, "order", 21),
        (7, "order2", 1),
    ],
)
def test_stream_depends_on_every_part_of_its_key(other):
    assert not np.array_equal(stream(7, "order", 2, 1).bytes(16), stream(*other).bytes(16))


def test_stream_draws_the_numbers_it_always_drew():
    assert stream(0, "order", 3).permutation(8).tolist() == [2, 5, 1, 4, 7, 3, 0, 6]


def test_stream_takes_numpy_integers_as_python_ones():
    assert stream(np.int64(5), "order", np.int32(2)).bytes(16) == stream(5, "order", 2).bytes(16)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_stream_rejects_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"`seed` must be an integer, 0 or larger and below 2.* Received: seed={seed}"):
        stream(seed, "order")


def test_key_words_are_signed_32_bit_integers():
    words = np.array([key_words(seed, "dropout") for seed in range(64)])
    assert words.min() < 0 < words.max()
    assert words.min() >= -(2**31)
    assert words.max() < 2**31


def test_key_words_are_those_they_always_were():
    assert key_words(0, "dropout", "stage1") == (-980067658, -1700105310)


def test_stream_of_a_float_is_an_error():
    with pytest.raises(TypeError):
        stream(0, "order", 1.5)
