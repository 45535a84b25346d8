"""What everybody knows of the well-known datasets, where the files themselves do not say it."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Red, green and blue of ImageNet's training images, of pixels in [0, 1]: what most code written for ImageNet
# normalizes with, on other images, too. CIFAR-10's stand in `kzoo.layers.pixels`, as the default of a layer.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
