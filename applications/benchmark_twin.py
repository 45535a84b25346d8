"""Trains and predicts in plain PyTorch, as its users do, without kzoo: the yardstick of `benchmark.py`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmark_torch_network import Network, copy_weights, fold
from torch.nn import functional as F


def predictor(arrays: Any) -> tuple[Callable[[Any], Any], float] | None:
    """Returns a function from images to logits, and the megabytes of weights; none of another network's."""
    depth = sum(name.startswith("conv") for name in arrays) + 1
    network = Network(f"resnet{depth}", arrays["mean"], arrays["std"])
    try:
        copy_weights(arrays, network)
    except (KeyError, RuntimeError):
        return None
    network = network.eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def answer(images: Any) -> Any:
        return network(torch.from_numpy(images)).numpy()

    return answer, 4 * sum(weight.numel() for weight in network.parameters()) / 1e6


def use_bfloat16() -> None:
    """Computes in bfloat16 from now on, with weights in float32."""
    for device in ("cpu", "cuda"):
        torch.set_autocast_dtype(device, torch.bfloat16)
        torch.set_autocast_enabled(device, True)


def programs(
    name: str, weights: str, images: Any, labels: Any, batch: int, sgd: dict[str, Any]
) -> tuple[dict[str, Callable[[int], object]], dict[str, Any]]:
    """Returns loops to time by their mode, and the loss of the first batch."""
    arrays, device = np.load(weights), "cuda" if torch.cuda.is_available() else "cpu"
    network = Network(name, arrays["mean"], arrays["std"]).to(device, memory_format=torch.channels_last)
    copy_weights(arrays, network)
    folded = fold(network)
    options = {"lr": sgd["learning_rate"], "momentum": sgd["momentum"], "weight_decay": sgd["weight_decay"]}
    optimizer = torch.optim.SGD(network.parameters(), nesterov=True, **options)

    def batches(steps: int) -> Any:
        for i in range(steps):
            chosen = slice(i * batch, (i + 1) * batch)
            yield torch.from_numpy(images[chosen]).to(device), torch.from_numpy(labels[chosen]).to(device)

    def train(steps: int) -> float:
        network.train()
        total = torch.zeros((), device=device)
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
            return np.concatenate([module(x).float().cpu().numpy() for x, _ in batches(steps)])

        return run

    x, y = next(batches(1))
    with torch.no_grad():
        loss = float(F.cross_entropy(network.eval()(x), y))
    found = {"train": train, "inference": predict(network), "folded": predict(folded)}
    return found, {"loss": loss}
