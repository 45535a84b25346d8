"""The networks of the papers by name.

Parameters are the trainable ones for 10 classes; errors are the papers' top-1 on the test set of the original CIFAR-10.
"""

from typing import Unpack

import keras

from kzoo.models.resnet import Arguments, resnet, wide_resnet


def resnet20(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-20 (He et al., 2015, table 6): 269,722 parameters, 8.75 % error. Takes the arguments of `resnet`."""
    return resnet(20, **arguments)


def resnet32(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-32 (He et al., 2015, table 6): 464,154 parameters, 7.51 % error. Takes the arguments of `resnet`."""
    return resnet(32, **arguments)


def resnet44(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-44 (He et al., 2015, table 6): 658,586 parameters, 7.17 % error. Takes the arguments of `resnet`."""
    return resnet(44, **arguments)


def resnet56(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-56 (He et al., 2015, table 6): 853,018 parameters, 6.97 % error. Takes the arguments of `resnet`."""
    return resnet(56, **arguments)


def resnet110(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-110 (He et al., 2015, table 6): 1,727,962 parameters, 6.43 % error. Takes the arguments of `resnet`."""
    return resnet(110, **arguments)


def resnet1202(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-1202 (He et al., 2015, table 6): 19.4 million parameters, 7.93 % error.

    Takes the arguments of `resnet`.
    """
    return resnet(1202, **arguments)


def _v2(depth: int, arguments: Arguments) -> keras.Model:
    arguments.setdefault("order", "preact")
    arguments.setdefault("name", f"resnet{depth}_v2")
    return resnet(depth, **arguments)


def resnet20_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-20 (He et al., 2016): 272,282 parameters. Takes the arguments of `resnet`."""
    return _v2(20, arguments)


def resnet32_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-32 (He et al., 2016): 466,714 parameters. Takes the arguments of `resnet`."""
    return _v2(32, arguments)


def resnet44_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-44 (He et al., 2016): 661,146 parameters. Takes the arguments of `resnet`."""
    return _v2(44, arguments)


def resnet56_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-56 (He et al., 2016): 855,578 parameters. Takes the arguments of `resnet`."""
    return _v2(56, arguments)


def resnet110_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-110 (He et al., 2016, table 2): 1,730,522 parameters, 6.37 % error.

    Takes the arguments of `resnet`.
    """
    return _v2(110, arguments)


def resnet1202_v2(**arguments: Unpack[Arguments]) -> keras.Model:
    """Pre-activation ResNet-1202 (He et al., 2016): 19.4 million parameters. Takes the arguments of `resnet`."""
    return _v2(1202, arguments)


def _plain(depth: int, arguments: Arguments) -> keras.Model:
    arguments.setdefault("shortcut", "none")
    arguments.setdefault("name", f"plain{depth}")
    return resnet(depth, **arguments)


def plain20(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-20 without shortcuts (He et al., 2015, figure 6). Takes the arguments of `resnet`."""
    return _plain(20, arguments)


def plain32(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-32 without shortcuts (He et al., 2015, figure 6). Takes the arguments of `resnet`."""
    return _plain(32, arguments)


def plain44(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-44 without shortcuts (He et al., 2015, figure 6). Takes the arguments of `resnet`."""
    return _plain(44, arguments)


def plain56(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-56 without shortcuts (He et al., 2015, figure 6). Takes the arguments of `resnet`."""
    return _plain(56, arguments)


def plain110(**arguments: Unpack[Arguments]) -> keras.Model:
    """ResNet-110 without shortcuts (He et al., 2015, section 4.2: over 60 % error). Takes the arguments of `resnet`."""
    return _plain(110, arguments)


def wide_resnet16_4(**arguments: Unpack[Arguments]) -> keras.Model:
    """WRN-16-4 (Zagoruyko & Komodakis, 2016): 2.7 million parameters. Takes the arguments of `resnet`."""
    return wide_resnet(16, 4, **arguments)


def wide_resnet28_10(**arguments: Unpack[Arguments]) -> keras.Model:
    """WRN-28-10 (Zagoruyko & Komodakis, 2016, table 5): 36.5 million parameters, 4.00 % error.

    Takes the arguments of `resnet`; the paper's dropout is 0.3.
    """
    return wide_resnet(28, 10, **arguments)
