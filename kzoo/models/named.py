"""The networks of the papers by name. A new one is an entry here: all lists of names are made from this one.

Parameters are the trainable ones for 10 classes; errors are the papers' top-1 on the test set of the original CIFAR-10.

`resnet8` and `resnet14` are not in He's table: they are students in distillation (Mirzadeh et al., 2020), and quick.

Whatever has no underscore here is a name of `kzoo.models` and `kzoo`, which import everything. Nothing here needs Keras
before a model is built: what builds it is named by its function in `kzoo.models.residual`.
"""

from kzoo.models.registry import named as _named

resnet8 = _named("resnet8", "ResNet-8, He's form with one block a stage: 75,290 parameters.", "resnet", 8)
resnet14 = _named("resnet14", "ResNet-14, He's form with two blocks a stage: 172,506 parameters.", "resnet", 14)
resnet20 = _named("resnet20", "ResNet-20 (He et al., 2015, table 6): 269,722 parameters, 8.75 % error.", "resnet", 20)
resnet32 = _named("resnet32", "ResNet-32 (He et al., 2015, table 6): 464,154 parameters, 7.51 % error.", "resnet", 32)
resnet44 = _named("resnet44", "ResNet-44 (He et al., 2015, table 6): 658,586 parameters, 7.17 % error.", "resnet", 44)
resnet56 = _named("resnet56", "ResNet-56 (He et al., 2015, table 6): 853,018 parameters, 6.97 % error.", "resnet", 56)
resnet110 = _named(
    "resnet110", "ResNet-110 (He et al., 2015, table 6): 1,727,962 parameters, 6.43 % error.", "resnet", 110
)
resnet1202 = _named(
    "resnet1202", "ResNet-1202 (He et al., 2015, table 6): 19.4 million parameters, 7.93 % error.", "resnet", 1202
)

_V2 = {"order": "preact"}
resnet20_v2 = _named(
    "resnet20_v2", "Pre-activation ResNet-20 (He et al., 2016): 272,282 parameters.", "resnet", 20, **_V2
)
resnet32_v2 = _named(
    "resnet32_v2", "Pre-activation ResNet-32 (He et al., 2016): 466,714 parameters.", "resnet", 32, **_V2
)
resnet44_v2 = _named(
    "resnet44_v2", "Pre-activation ResNet-44 (He et al., 2016): 661,146 parameters.", "resnet", 44, **_V2
)
resnet56_v2 = _named(
    "resnet56_v2", "Pre-activation ResNet-56 (He et al., 2016): 855,578 parameters.", "resnet", 56, **_V2
)
resnet110_v2 = _named(
    "resnet110_v2",
    "Pre-activation ResNet-110 (He et al., 2016, table 2): 1,730,522 parameters, 6.37 % error.",
    "resnet",
    110,
    **_V2,
)
resnet1202_v2 = _named(
    "resnet1202_v2", "Pre-activation ResNet-1202 (He et al., 2016): 19.4 million parameters.", "resnet", 1202, **_V2
)

_PLAIN = {"shortcut": "none"}
plain20 = _named("plain20", "ResNet-20 without shortcuts (He et al., 2015, figure 6).", "resnet", 20, **_PLAIN)
plain32 = _named("plain32", "ResNet-32 without shortcuts (He et al., 2015, figure 6).", "resnet", 32, **_PLAIN)
plain44 = _named("plain44", "ResNet-44 without shortcuts (He et al., 2015, figure 6).", "resnet", 44, **_PLAIN)
plain56 = _named("plain56", "ResNet-56 without shortcuts (He et al., 2015, figure 6).", "resnet", 56, **_PLAIN)
plain110 = _named(
    "plain110", "ResNet-110 without shortcuts (He et al., 2015, section 4.2: over 60 % error).", "resnet", 110, **_PLAIN
)

wide_resnet16_4 = _named(
    "wide_resnet16_4", "WRN-16-4 (Zagoruyko & Komodakis, 2016): 2.7 million parameters.", "wide_resnet", 16, 4
)
wide_resnet28_10 = _named(
    "wide_resnet28_10",
    "WRN-28-10 (Zagoruyko & Komodakis, 2016, table 5): 36.5 million parameters, 4.00 % error. "
    "The paper's dropout is 0.3.",
    "wide_resnet",
    28,
    10,
)
