"""Typical wrong answers to the exercises of chapter 04, and a fragment of what the reader is told."""

SETUP = "from torch import nn"

INSPECTOR = """
def my_inspector(generator, discriminator):
    g = [type(part).__name__ for part in generator.modules()]
    d = [type(part).__name__ for part in discriminator.modules()]
    broken = set()
    if any("Pool" in name for name in g + d):
        broken.add(1)
    if "BatchNorm2d" not in g or "BatchNorm2d" not in d:
        broken.add(2)
    if g.count("Linear") > 1 or d.count("Linear") > 1:
        broken.add(3)
    if "LeakyReLU" in g or "Tanh" not in g:
        broken.add(4)
    if "ReLU" in d:
        broken.add(5)
    return broken
"""

WRONG = {
    "04.1": [
        (
            "def my_shapes(image_size, channels, width):\n"
            "    shapes, side, maps = [], 4, width\n"
            "    while side < image_size:\n"
            "        shapes.append((maps, side, side))\n"
            "        side, maps = side * 2, maps * 2\n"
            "    return shapes + [(channels, image_size, image_size)]",
            "the other way round",
        ),
        (
            "def my_shapes(image_size, channels, width):\n"
            "    shapes, side, maps = [(channels, image_size, image_size)], image_size // 2, width\n"
            "    while side > 4:\n"
            "        shapes.append((maps, side, side))\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return shapes[::-1]",
            "every stack starts at 4",
        ),
        (
            "def my_shapes(image_size, channels, width):\n"
            "    shapes, side, maps = [], image_size, width\n"
            "    while side >= 4:\n"
            "        shapes.append((maps, side, side))\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return shapes[::-1]",
            "the last shape is the image itself",
        ),
    ],
    "04.2": [
        (
            "def my_num_parameters(image_size, channels, width):\n"
            "    count, side, maps = 16 * channels * width, image_size // 2, width\n"
            "    while side > 4:\n"
            "        count += 32 * maps * maps\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return count + 16 * maps",
            "left out batch normalisation",
        ),
        (
            "def my_num_parameters(image_size, channels, width):\n"
            "    count, side, maps = 16 * channels * width + 2 * width, image_size // 2, width\n"
            "    while side > 4:\n"
            "        count += 32 * maps * maps + 4 * maps\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return count + 16 * maps",
            "after the first convolution",
        ),
        (
            "def my_num_parameters(image_size, channels, width):\n"
            "    count, side, maps = 16 * channels * width, image_size // 2, width\n"
            "    while side > 4:\n"
            "        count += 32 * maps * maps + 4 * maps\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return count",
            "left out the last layer",
        ),
        (
            "def my_num_parameters(image_size, channels, width):\n"
            "    count, side, maps = 16 * channels * width + width, image_size // 2, width\n"
            "    while side > 4:\n"
            "        count += 32 * maps * maps + 6 * maps\n"
            "        side, maps = side // 2, maps * 2\n"
            "    return count + 16 * maps",
            "these convolutions have none",
        ),
    ],
    "04.3": [
        (
            "def my_receptive_field(layers):\n    return 1 + sum(kernel - 1 for kernel, _ in layers)",
            "forgot the strides",
        ),
        (
            "def my_receptive_field(layers):\n"
            "    field = 1\n"
            "    for kernel, _ in layers:\n"
            "        field *= kernel\n"
            "    return field",
            "neighbouring windows overlap",
        ),
        (
            "def my_receptive_field(layers):\n"
            "    field, jump = 1, 1\n"
            "    for kernel, stride in layers:\n"
            "        jump *= stride\n"
            "        field += (kernel - 1) * jump\n"
            "    return field",
            "own stride",
        ),
    ],
    "04.4": [
        ("def my_inspector(generator, discriminator):\n    return set()", "max pooling"),
        ("def my_inspector(generator, discriminator):\n    return {3}", "follows all five"),
        (INSPECTOR, "on the generator's output"),
        (INSPECTOR.replace('"Pool" in name', '"MaxPool" in name'), "average pooling"),
    ],
}
