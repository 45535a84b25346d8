"""kzoo's ResNet in plain PyTorch, as its users write it: the yardstick of `benchmark.py`."""

import copy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import kzoo


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


class Network(nn.Module):
    """The CIFAR ResNet of depth 6n + 2, from uint8 images (batch, height, width, channels)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        pixels = kzoo.PixelNormalization()
        self.register_buffer("mean", torch.tensor(pixels.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(pixels.std).view(1, 3, 1, 1))
        self.conv, self.norm = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for filters in (16, 32, 64):
            for block in range((depth - 2) // 6):
                blocks.append(Block(channels, filters, 2 if filters > 16 and block == 0 else 1))
                channels = filters
        self.blocks, self.classifier = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = (x.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return self.classifier(self.blocks(F.relu(self.norm(self.conv(x)))).mean((2, 3)))


def copy_weights(model: keras.Model, network: Network) -> None:
    """Copies a kzoo model's weights."""
    pairs: list[tuple[str, Any, Any]] = [("stem_", network.conv, network.norm)]
    count = len(network.blocks) // 3
    for i, block in enumerate(network.blocks):
        name = f"stage{i // count + 1}_block{i % count + 1}_"
        pairs += [(name, block.conv1, block.norm1), (name, block.conv2, block.norm2)]
    for i, (name, conv, norm) in enumerate(pairs):
        number = "" if i == 0 else str(2 - i % 2)
        (kernel,) = model.get_layer(f"{name}conv{number}").get_weights()
        conv.weight.data.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
        values = model.get_layer(f"{name}norm{number}").get_weights()
        for target, value in zip((norm.weight, norm.bias, norm.running_mean, norm.running_var), values, strict=True):
            target.data.copy_(torch.from_numpy(value))
    kernel, bias = model.get_layer("classifier").get_weights()
    network.classifier.weight.data.copy_(torch.from_numpy(kernel.T.copy()))
    network.classifier.bias.data.copy_(torch.from_numpy(bias))


def fold(network: Network) -> Network:
    """Folds batch normalization into the convolutions, with PyTorch's own function."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    folded = copy.deepcopy(network).eval()
    folded.conv, folded.norm = fuse_conv_bn_eval(folded.conv, folded.norm), nn.Identity()
    for block in folded.blocks:
        block.conv1, block.norm1 = fuse_conv_bn_eval(block.conv1, block.norm1), nn.Identity()
        block.conv2, block.norm2 = fuse_conv_bn_eval(block.conv2, block.norm2), nn.Identity()
    return folded.to(memory_format=torch.channels_last)


def torch_programs(
    model: keras.Model, images: Any, labels: Any, batch: int, rates: tuple[float, float, float]
) -> tuple[dict[str, Callable[[int], object]], float]:
    """Returns loops to time, and the loss of the first batch."""
    blocks = sum(layer.name.endswith("_add") for layer in model.layers)
    network = Network(2 * blocks + 2).to(memory_format=torch.channels_last)
    copy_weights(model, network)
    folded = fold(network)
    rate, momentum, decay = rates
    optimizer = torch.optim.SGD(network.parameters(), rate, momentum, weight_decay=decay, nesterov=True)

    def batches(steps: int) -> Any:
        for i in range(steps):
            chosen = slice(i * batch, (i + 1) * batch)
            yield torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])

    def train(steps: int) -> float:
        network.train()
        total = torch.zeros(())
        for x, y in batches(steps):
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total)

    def predict(module: Any) -> Callable[[int], object]:
        @torch.no_grad()
        def run(steps: int) -> Any:
            module.eval()
            return np.concatenate([module(x).numpy() for x, _ in batches(steps)])

        return run

    x, y = next(batches(1))
    with torch.no_grad():
        loss = float(F.cross_entropy(network.eval()(x), y))
    return {"pytorch train": train, "pytorch inference": predict(network), "pytorch folded": predict(folded)}, loss
