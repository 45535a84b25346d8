"""Twenty steps of each recipe, against a plain PyTorch network, loss and optimizer, in float64."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training.loop import compile_model, training_batches

torch = pytest.importorskip("torch", reason="the twin is written in PyTorch")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="one backend is enough: all agree")

STEPS, EPOCHS = 20, 5


class Twin(torch.nn.Module):
    """ResNet-8 with option A, as a PyTorch user would write it."""

    def __init__(self, classes):
        super().__init__()
        nn = torch.nn
        widths = [(3, 16, 1), (16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, s, padding=1, bias=False) for a, b, s in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _ in widths)
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        relu = torch.nn.functional.relu
        x = relu(self.norms[0](self.convolutions[0](x)))
        for first in (1, 3, 5):
            y = relu(self.norms[first](self.convolutions[first](x)))
            y = self.norms[first + 1](self.convolutions[first + 1](y))
            if first > 1:
                quarter = y.shape[1] // 4
                x = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = relu(x + y)
        return self.linear(x.mean(dim=(2, 3)))

    def take(self, model):
        """Copies the initial weights of a kzoo model."""
        kernels = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, kzoo.Conv2D)]
        with torch.no_grad():
            for convolution, kernel in zip(self.convolutions, kernels, strict=True):
                convolution.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1)))
            self.linear.weight.copy_(torch.tensor(model.layers[-1].kernel.numpy().T))
            self.linear.bias.zero_()


def groups(twin, recipe):
    kernels = [p for p in twin.parameters() if p.ndim > 1 or recipe.decay_on == "all"]
    others = [p for p in twin.parameters() if p.ndim == 1 and recipe.decay_on != "all"]
    decayed = [{"params": kernels, "weight_decay": recipe.weight_decay}]
    return decayed + ([{"params": others, "weight_decay": 0.0}] if others else [])


@pytest.mark.parametrize("name", ["default", "fast", "akamaster", "he2015"])
def test_recipe_trains_as_plain_pytorch_does(name, tiny):
    kzoo.set_precision("float64")
    recipe = kzoo.recipe(name).override(epochs=EPOCHS, batch_size=12, learning_rate=0.02, precision="float64")
    model = kzoo.resnet(8, input_shape=(8, 8, 3), classes=3)
    kzoo.set_pixel_statistics(model, tiny, recipe)
    twin = Twin(3).double()
    twin.take(model)
    batches = training_batches(tiny, recipe, seed=0)
    assert EPOCHS * batches.batches_per_epoch == STEPS
    compile_model(model, recipe, batches.batches_per_epoch)
    rates = model.optimizer._learning_rate.rates
    sgd = torch.optim.SGD(groups(twin, recipe), lr=1.0, momentum=recipe.momentum, nesterov=recipe.nesterov)
    mean, std = model.layers[1].pixel_mean.numpy(), model.layers[1].pixel_std.numpy()
    for step in range(STEPS):
        images, labels = batches.batch(*divmod(step, batches.batches_per_epoch))
        model.train_on_batch(images, labels.astype(np.float64))
        normalized = ((images / np.float32(255) - mean) / std).astype(np.float64)
        x = torch.tensor(normalized.transpose(0, 3, 1, 2))
        loss = torch.nn.functional.cross_entropy(
            twin(x), torch.tensor(labels.argmax(axis=1)), label_smoothing=recipe.label_smoothing
        )
        for group in sgd.param_groups:
            group["lr"] = rates[step]
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    kernels = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, kzoo.Conv2D)]
    for kernel, convolution in zip(kernels, twin.convolutions, strict=True):
        expected = convolution.weight.detach().numpy().transpose(2, 3, 1, 0)
        assert np.abs(kernel - expected).max() <= 1e-12 * np.abs(expected).max()
