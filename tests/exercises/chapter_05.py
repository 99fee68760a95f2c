"""Typical wrong answers to the exercises of chapter 05, and a fragment of what the reader is told."""

SETUP = "import torch"

NORM = (
    "def my_batch_norm(maps, gamma, beta, eps):\n"
    "    mean = maps.mean(dim={dims}, keepdim=True)\n"
    "    variance = maps.var(dim={dims}, unbiased={unbiased}, keepdim=True)\n"
    "    standard = (maps - mean) / {scale}\n"
    "    return standard * gamma.view(1, -1, 1, 1) + beta.view(1, -1, 1, 1)"
)
RIGHT_SCALE = "(variance + eps).sqrt()"

WRONG = {
    "05.1": [
        (
            "def my_size(size, kernel, stride, padding, output_padding):\n"
            "    return (size + 2 * padding - kernel) // stride + 1",
            "ordinary convolution",
        ),
        (
            "def my_size(size, kernel, stride, padding, output_padding):\n"
            "    return (size - 1) * stride + kernel + 2 * padding + output_padding",
            "cuts the edge",
        ),
        (
            "def my_size(size, kernel, stride, padding, output_padding):\n"
            "    return (size - 1) * stride + kernel - 2 * padding",
            "output_padding",
        ),
        ("def my_size(size, kernel, stride, padding, output_padding):\n    return size * stride", "start to paint"),
    ],
    "05.2": [
        (NORM.format(dims="(0,)", unbiased=False, scale=RIGHT_SCALE), "for every position"),
        (NORM.format(dims="(2, 3)", unbiased=False, scale=RIGHT_SCALE), "instance normalisation"),
        (NORM.format(dims="(1, 2, 3)", unbiased=False, scale=RIGHT_SCALE), "layer normalisation"),
        (NORM.format(dims="(0, 2, 3)", unbiased=True, scale=RIGHT_SCALE), "Divide by n"),
        (NORM.format(dims="(0, 2, 3)", unbiased=False, scale="(variance.sqrt() + eps)"), "under the root"),
    ],
    "05.3": [
        (
            "def my_transposed(signal, kernel, stride):\n"
            "    out = torch.zeros((len(signal) - 1) * stride + len(kernel))\n"
            "    for place, value in enumerate(signal):\n"
            "        out[2 * place : 2 * place + len(kernel)] += value * kernel\n"
            "    return out",
            "a stride of 3",
        ),
        (
            "def my_transposed(signal, kernel, stride):\n"
            "    canvas = torch.zeros((len(signal) - 1) * stride + len(kernel))\n"
            "    for place, value in enumerate(signal):\n"
            "        canvas[place * stride : place * stride + len(kernel)] = value * kernel\n"
            "    return canvas",
            "overwritten",
        ),
        (
            "def my_transposed(signal, kernel, stride):\n"
            "    canvas = torch.zeros((len(signal) - 1) * stride + len(kernel))\n"
            "    for place, value in enumerate(signal):\n"
            "        canvas[place * stride : place * stride + len(kernel)] += value * kernel.flip(0)\n"
            "    return canvas",
            "wrong way round",
        ),
        (
            "def my_transposed(signal, kernel, stride):\n    return torch.zeros(len(signal) * stride)",
            "(3 - 1) * 2 + 3",
        ),
    ],
    "05.4": [
        (
            "def my_folded(weight, gamma, beta, mean, variance, eps):\n"
            "    return weight * gamma[:, None], beta - mean * gamma",
            "did not divide",
        ),
        (
            "def my_folded(weight, gamma, beta, mean, variance, eps):\n"
            "    factor = gamma / (variance + eps).sqrt()\n"
            "    return weight * factor[:, None], beta",
            "running mean",
        ),
        (
            "def my_folded(weight, gamma, beta, mean, variance, eps):\n"
            "    factor = gamma / (variance + eps)\n"
            "    return weight * factor[:, None], beta - mean * factor",
            "sqrt(var + eps)",
        ),
    ],
}
