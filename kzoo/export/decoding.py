"""Decodes image files within a SavedModel, to the pixels that `kzoo.Decoding` gives. Needs TensorFlow."""

from typing import Any

from kzoo.data.images import Decoding

# Rec. 601 luma in 16 bits, as Pillow has it.
_LUMA = (19595, 38470, 7471)


def decoded(image_bytes: Any, decoding: Decoding) -> Any:
    """Decodes JPEG and PNG files to Pillow's pixels, upright, on the background, resized.

    Pillow decodes JPEG with libjpeg's accurate integer transform, and `kzoo.Decoding` resizes the width, then the
    height, each by sums of integers. So does this, to the bit but for few pixels of cropped images, which differ by
    one level. What else is left to differ: CMYK, transparency of PNG files of other than 8 bits that have no palette,
    and orientations that something else than EXIF states.

    Args:
        image_bytes: String tensor of shape `(batch,)`.
        decoding: The `Decoding`, with a size.

    Returns:
        uint8 tensor of shape `(batch, height, width, channels)`.
    """
    import tensorflow as tf

    from kzoo.export.orientation import orientation_of, upright

    assert decoding.image_size is not None
    shape = (*decoding.image_size, decoding.channels)

    def decode(data: Any) -> Any:
        is_png = tf.equal(tf.strings.substr(data, 0, 4), b"\x89PNG")
        image = tf.cond(
            is_png,
            lambda: _of_png(data),
            lambda: _opaque(tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")),
        )
        image = tf.cast(upright(image, orientation_of(data, is_png)), tf.int32)
        image = _resized(_channels(image, decoding), decoding)
        return tf.ensure_shape(tf.cast(image, tf.uint8), shape)

    return tf.map_fn(decode, image_bytes, fn_output_signature=tf.uint8)


def _of_png(data: Any) -> Any:
    """Decodes PNG to RGBA. TensorFlow gives pixels of less than 8 bits an opacity of less than 8 bits, too."""
    import tensorflow as tf

    few_bits = tf.strings.regex_full_match(tf.strings.substr(data, 24, 2), "[\x01\x02\x04]\x00")
    return tf.cond(
        few_bits,
        lambda: _opaque(tf.io.decode_png(data, channels=3)),
        lambda: tf.io.decode_png(data, channels=4),
    )


def _opaque(image: Any) -> Any:
    import tensorflow as tf

    return tf.concat([image, tf.fill(tf.concat([tf.shape(image)[:2], [1]], 0), tf.constant(255, tf.uint8))], -1)


def _channels(image: Any, decoding: Decoding) -> Any:
    """Returns the channels asked for of an RGBA image, by Pillow's integer arithmetic."""
    import tensorflow as tf

    if decoding.channels == 4:
        return image
    color, opacity = image[..., :3], image[..., 3:]
    mixed = (color * opacity + decoding.background * (255 - opacity)) * 128 + 0x4000
    color = tf.bitwise.right_shift(tf.bitwise.right_shift(mixed, 8) + mixed, 15)
    if decoding.channels == 3:
        return color
    luma = tf.reduce_sum(color * tf.constant(_LUMA), -1, keepdims=True) + 0x8000
    return tf.bitwise.right_shift(luma, 16)


def _resized(image: Any, decoding: Decoding) -> Any:
    import tensorflow as tf

    assert decoding.image_size is not None
    height, width = decoding.image_size
    size = tf.cast(tf.shape(image)[:2], tf.float64)
    wanted = tf.constant([height, width], tf.float64)
    whole = tf.stack([tf.zeros_like(size), size])
    if decoding.resize == "stretch":
        return _by_box(image, whole, (height, width))
    scales = wanted / size
    if decoding.resize == "crop":
        same = tf.equal(size[0] * width, size[1] * height)
        cut = tf.where(same, size, tf.minimum(size, wanted * tf.reduce_min(size / wanted)))
        start = (size - cut) / 2
        return _by_box(image, tf.stack([start, start + cut]), (height, width))
    fitted = tf.cast(tf.maximum(tf.floor(size * tf.reduce_min(scales) + 0.5), 1), tf.int32)
    before = (tf.constant([height, width]) - fitted) // 2
    around = tf.stack([before, tf.constant([height, width]) - fitted - before], axis=1)
    background = [decoding.background] * 3 + [0] if decoding.channels == 4 else [decoding.background]
    fill = tf.constant(background, tf.int32)
    inner = _by_box(image, whole, (fitted[0], fitted[1]))
    return tf.pad(inner - fill, tf.concat([around, [[0, 0]]], 0)) + fill


def _by_box(image: Any, box: Any, size: Any) -> Any:
    """Resizes what lies in a box of an image, `[[top, left], [bottom, right]]`: the width first, then the height."""
    import tensorflow as tf

    height, width = size
    pixels = tf.cast(image, tf.float64)
    across = _coefficients(tf.shape(image)[1], box[0][1], box[1][1], width)
    pixels = _rounded(tf.einsum("hwc,ow->hoc", pixels, across))
    down = _coefficients(tf.shape(image)[0], box[0][0], box[1][0], height)
    return tf.cast(_rounded(tf.einsum("hwc,oh->owc", pixels, down)), tf.int32)


def _coefficients(given: Any, start: Any, end: Any, wanted: Any) -> Any:
    """Returns what each pixel of a row adds to each resized one, as whole numbers of 2**-22: `(wanted, given)`.

    Pillow's bicubic kernel (a = -1/2) widens where it shrinks an image, and counts only what lies inside. Its sums of
    integers are exact in float64, too.
    """
    import tensorflow as tf

    # Pillow keeps the bounds of the part in float32.
    start, end = (tf.cast(tf.cast(bound, tf.float32), tf.float64) for bound in (start, end))
    scale = (end - start) / tf.cast(wanted, tf.float64)
    widened = tf.maximum(scale, 1)
    center = (start + (tf.range(tf.cast(wanted, tf.float64), dtype=tf.float64) + 0.5) * scale)[:, None]
    place = tf.range(tf.cast(given, tf.float64), dtype=tf.float64)[None]
    first, last = (tf.floor(center + side * 2 * widened + 0.5) for side in (-1, 1))
    x = tf.abs((place - center + 0.5) / widened)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    weights = tf.where(x < 1, near, tf.where(x < 2, far, 0))
    weights = tf.where((place >= first) & (place < last), weights, 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    return tf.sign(weights) * tf.floor(tf.abs(weights) * 2.0**22 + 0.5)


def _rounded(sums: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(tf.floor((sums + 2.0**21) / 2.0**22), 0, 255)
