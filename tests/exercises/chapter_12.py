"""Typical wrong answers to the exercises of chapter 12, and a fragment of what the reader is told."""

SETUP = "import torch\nfrom dcgan_core.losses import discriminator_loss"

WRONG = {
    "12.1": [
        ("def my_gradient(a, b, num_steps, rate):\n    return b", "let b take its 1 steps first"),
        (
            "def my_gradient(a, b, num_steps, rate):\n"
            "    for _ in range(num_steps):\n"
            "        b = b + rate * (a - b)\n"
            "    return b",
            "the first term alone",
        ),
        (
            "def my_gradient(a, b, num_steps, rate):\n"
            "    slope = 0.0\n"
            "    for _ in range(num_steps):\n"
            "        b, slope = b - rate * (a - b), slope - rate * (1 - slope)\n"
            "    return b + slope * (a - b)",
            "b climbs",
        ),
    ],
    "12.2": [
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n"
            "    now = dict(discriminator.named_parameters())\n"
            "    loss = discriminator_loss(discriminator(real), discriminator(fake.detach()))\n"
            "    gradients = torch.autograd.grad(loss, now.values(), create_graph=True)\n"
            "    return {name: w - rate * g for (name, w), g in zip(now.items(), gradients)}",
            "no graph leads back",
        ),
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n"
            "    now = dict(discriminator.named_parameters())\n"
            "    loss = discriminator_loss(discriminator(real), discriminator(fake))\n"
            "    gradients = torch.autograd.grad(loss, now.values())\n"
            "    return {name: w - rate * g for (name, w), g in zip(now.items(), gradients)}",
            "create_graph=True",
        ),
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n"
            "    optimizer = torch.optim.SGD(discriminator.parameters(), lr=rate)\n"
            "    discriminator_loss(discriminator(real), discriminator(fake)).backward()\n"
            "    optimizer.step()\n"
            "    return dict(discriminator.named_parameters())",
            "The real discriminator has moved",
        ),
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n"
            "    now = dict(discriminator.named_parameters())\n"
            "    loss = discriminator_loss(discriminator(real), discriminator(fake))\n"
            "    gradients = torch.autograd.grad(loss, now.values(), create_graph=True)\n"
            "    return {name: w + rate * g for (name, w), g in zip(now.items(), gradients)}",
            "subtract the gradient",
        ),
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n    return dict(discriminator.named_parameters())",
            "take a step",
        ),
        (
            "def my_step_ahead(discriminator, real, fake, rate):\n    return list(discriminator.parameters())",
            "Return a dictionary",
        ),
    ],
    "12.3": [
        ("def my_detector(loss, gradient):\n    return True", "the gradient of a stepped copy"),
        (
            "def my_detector(loss, gradient):\n"
            "    slope = (loss(0.5001) - loss(0.4999)) / 0.0002\n"
            "    return abs(slope - gradient(0.5)) < 1e-4",
            "try several places",
        ),
        (
            "def my_detector(loss, gradient):\n"
            "    hair = 1e-4\n"
            "    slopes = [(loss(a + hair) - loss(a - hair)) / (2 * hair) for a in (-0.5, 0.2)]\n"
            "    return slopes == [gradient(-0.5), gradient(0.2)]",
            "Allow for rounding",
        ),
    ],
}
