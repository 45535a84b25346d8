"""How a camera was held, read within a SavedModel: the EXIF orientation of JPEG and PNG files. Needs TensorFlow.

Reference:
    - CIPA DC-008 (Exif 2.32), sections 4.5.4 and 4.6.4; PNG specification, third edition, chunk eXIf
"""

from typing import Any

_TAG = 0x0112
_EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0]  # Exif, in JPEG
_CHUNK = [0x65, 0x58, 0x49, 0x66]  # eXIf, in PNG
_SCAN, _APP1 = 0xDA, 0xE1
_ENTRIES = 256  # of a directory that are looked at; a damaged file may claim 65,535
_SPARE = 16  # zeros after the file, so that what a damaged one points to can be read


def orientation_of(data: Any, is_png: Any) -> Any:
    """Returns the EXIF orientation of a file, an integer from 1 to 8; 1 where it has none.

    Args:
        data: Scalar string tensor, a JPEG or PNG file.
        is_png: Scalar boolean tensor, whether it is PNG.
    """
    import tensorflow as tf

    content = tf.pad(tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32), [[0, _SPARE]])
    start = tf.cond(is_png, lambda: _start_in_png(content), lambda: _start_in_jpeg(content))
    return tf.cond(start > 0, lambda: _orientation_at(content, start), lambda: tf.constant(1))


def upright(image: Any, orientation: Any) -> Any:
    """Returns an image `(height, width, channels)` turned and mirrored as its orientation asks for."""
    import tensorflow as tf

    def turned(mirrored: bool, quarters: int) -> Any:
        def turn() -> Any:
            return tf.image.rot90(image[:, ::-1] if mirrored else image, quarters)

        return turn

    # Orientation 1 to 8: whether to mirror left and right, then how many quarters to turn left.
    ways = [(False, 0), (True, 0), (False, 2), (True, 2), (True, 1), (False, 3), (True, 3), (False, 1)]
    return tf.switch_case(orientation - 1, [turned(*way) for way in ways])


def _number(content: Any, start: Any, size: int, little: Any = False) -> Any:
    """Returns the number in some bytes; positions beyond the content count as its last, which are zero."""
    import tensorflow as tf

    places = tf.clip_by_value(start + tf.range(size), 0, tf.size(content) - 1)
    found = tf.gather(content, places)
    found = tf.where(little, found[::-1], found)
    number = tf.constant(0)
    for place in range(size):
        number = number * 256 + found[place]
    return number


def _is_at(content: Any, start: Any, expected: list[int]) -> Any:
    import tensorflow as tf

    places = tf.clip_by_value(start + tf.range(len(expected)), 0, tf.size(content) - 1)
    return tf.reduce_all(tf.equal(tf.gather(content, places), expected))


def _start_in_jpeg(content: Any) -> Any:
    """Returns where the TIFF header within the Exif segment begins, or 0."""
    import tensorflow as tf

    def is_exif(place: Any) -> Any:
        return tf.logical_and(tf.equal(_number(content, place + 1, 1), _APP1), _is_at(content, place + 4, _EXIF))

    def goes_on(place: Any) -> Any:
        is_segment = tf.equal(_number(content, place, 1), 0xFF)
        is_inside = tf.logical_and(place > 0, place < tf.size(content) - _SPARE)
        is_header = tf.not_equal(_number(content, place + 1, 1), _SCAN)
        return is_inside & is_segment & is_header & ~is_exif(place)

    (place,) = tf.while_loop(goes_on, lambda place: [place + 2 + _number(content, place + 2, 2)], [tf.constant(2)])
    return tf.where(is_exif(place), place + 10, 0)


def _start_in_png(content: Any) -> Any:
    """Returns where the TIFF header within the chunk eXIf begins, or 0."""
    import tensorflow as tf

    def goes_on(place: Any) -> Any:
        is_inside = tf.logical_and(place > 0, place < tf.size(content) - _SPARE)
        return tf.logical_and(is_inside, ~_is_at(content, place + 4, _CHUNK))

    def following(place: Any) -> Any:
        length = _number(content, place, 4)
        return [tf.where(length < 0, -1, place + 12 + tf.minimum(length, tf.size(content)))]

    (place,) = tf.while_loop(goes_on, following, [tf.constant(8)])
    return tf.where(_is_at(content, place + 4, _CHUNK) & (place > 0), place + 8, 0)


def _orientation_at(content: Any, start: Any) -> Any:
    """Returns the orientation that the first directory of a TIFF header has."""
    import tensorflow as tf

    little = tf.equal(_number(content, start, 1), 0x49)
    directory = start + _number(content, start + 4, 4, little)
    is_inside = tf.logical_and(directory > start, directory < tf.size(content) - _SPARE)  # else also where it overflows
    entries = tf.where(is_inside, tf.minimum(_number(content, directory, 2, little), _ENTRIES), 0)

    def goes_on(entry: Any) -> Any:
        is_tag = tf.equal(_number(content, directory + 2 + 12 * entry, 2, little), _TAG)
        return tf.logical_and(entry < entries, tf.logical_not(is_tag))

    (entry,) = tf.while_loop(goes_on, lambda entry: [entry + 1], [tf.constant(0)])
    value = _number(content, directory + 2 + 12 * entry + 8, 2, little)
    return tf.where((entry < entries) & (value >= 1) & (value <= 8), value, 1)
