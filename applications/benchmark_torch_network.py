"""kzoo's networks of plain `torch.nn`, as users of PyTorch write them, without kzoo."""

import copy
from typing import Any

import torch
from benchmark_networks import STEM, sizes
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.stride, self.extra = stride, (filters - channels) // 2

    def forward(self, x: Any) -> Any:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(x + y)


class PreactivatedBlock(nn.Module):
    """Two 3x3 convolutions after their normalizations, and a projection where sizes differ."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        projects = channels != filters or stride > 1
        self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False) if projects else None

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norm1(x))
        x = x if self.shortcut is None else self.shortcut(y)
        return x + self.conv2(F.relu(self.norm2(self.conv1(y))))


class Network(nn.Module):
    """The network of a name, from uint8 images (batch, height, width, channels)."""

    def __init__(self, name: str, mean: Any, std: Any) -> None:
        super().__init__()
        blocks, stages, self.preactivated = sizes(name)
        block = PreactivatedBlock if self.preactivated else Block
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))
        channels = [STEM, *(filters for filters in stages for _ in range(blocks))]
        strides = [2 if stage and not i else 1 for stage in range(len(stages)) for i in range(blocks)]
        self.conv = nn.Conv2d(3, STEM, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels[-1] if self.preactivated else STEM)
        self.blocks = nn.Sequential(*map(block, channels[:-1], channels[1:], strides))
        self.classifier = nn.Linear(channels[-1], 10)

    def forward(self, x: Any) -> Any:
        x = self.conv((x.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std)
        x = F.relu(self.norm(self.blocks(x))) if self.preactivated else self.blocks(F.relu(self.norm(x)))
        return self.classifier(x.mean((2, 3)))


def copy_weights(arrays: Any, network: Network) -> None:
    """Copies kzoo's weights."""
    convs, norms = [network.conv], [] if network.preactivated else [network.norm]
    for block in network.blocks:
        projections = [block.shortcut] if network.preactivated and block.shortcut is not None else []
        convs += [*projections, block.conv1, block.conv2]
        norms += [block.norm1, block.norm2]
    norms += [network.norm] if network.preactivated else []
    for i, conv in enumerate(convs):
        conv.weight.data.copy_(torch.from_numpy(arrays[f"conv{i}_0"].transpose(3, 2, 0, 1).copy()))
    for i, norm in enumerate(norms):
        for j, target in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            target.data.copy_(torch.from_numpy(arrays[f"norm{i}_{j}"]))
    network.classifier.weight.data.copy_(torch.from_numpy(arrays["dense0_0"].T.copy()))
    network.classifier.bias.data.copy_(torch.from_numpy(arrays["dense0_1"]))


def fold(network: Network) -> Network:
    """Folds batch normalization into the convolutions, with PyTorch's own function."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    folded = copy.deepcopy(network).eval()
    if network.preactivated:  # where a normalization follows a sum, it stays
        for block in folded.blocks:
            block.conv1, block.norm2 = fuse_conv_bn_eval(block.conv1, block.norm2), nn.Identity()
        return folded.to(memory_format=torch.channels_last)
    folded.conv, folded.norm = fuse_conv_bn_eval(folded.conv, folded.norm), nn.Identity()
    for block in folded.blocks:
        block.conv1, block.norm1 = fuse_conv_bn_eval(block.conv1, block.norm1), nn.Identity()
        block.conv2, block.norm2 = fuse_conv_bn_eval(block.conv2, block.norm2), nn.Identity()
    return folded.to(memory_format=torch.channels_last)
