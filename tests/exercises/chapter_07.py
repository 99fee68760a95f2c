"""Typical wrong answers to the exercises of chapter 07, and a fragment of what the reader is told."""

SETUP = "import torch\nfrom torch.nn.functional import softplus"

WRONG = {
    "07.1": [
        (
            "def my_discriminator_loss(real_logits, fake_logits):\n"
            "    return -softplus(-real_logits).mean() - softplus(fake_logits).mean()",
            "opposite sign",
        ),
        (
            "def my_discriminator_loss(real_logits, fake_logits):\n"
            "    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)\n"
            "    return -torch.log(real).mean() - torch.log(1 - fake).mean()",
            "its logarithm overflows",
        ),
        (
            "def my_discriminator_loss(real_logits, fake_logits):\n    return softplus(-real_logits).mean()",
            "does not depend on the fake logits",
        ),
        (
            "def my_discriminator_loss(real_logits, fake_logits):\n"
            "    return (softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2",
            "sum of two means",
        ),
        (
            "def my_discriminator_loss(real_logits, fake_logits):\n"
            "    return softplus(-real_logits) + softplus(fake_logits)",
            "scalar",
        ),
    ],
    "07.2": [
        (
            "def my_generator_turn(generator, discriminator, optimizer, latents):\n"
            "    optimizer.zero_grad()\n"
            "    fake = generator(latents).detach().requires_grad_()\n"
            "    softplus(-discriminator(fake)).mean().backward()\n"
            "    optimizer.step()",
            "If you detached the fake images",
        ),
        (
            "def my_generator_turn(generator, discriminator, optimizer, latents):\n"
            "    optimizer.zero_grad()\n"
            "    softplus(-discriminator(generator(latents))).mean().backward()\n"
            "    optimizer.step()",
            "gradients that do not belong to its own loss",
        ),
        (
            "def my_generator_turn(generator, discriminator, optimizer, latents):\n"
            "    optimizer.zero_grad()\n"
            "    discriminator.requires_grad_(False)\n"
            "    softplus(discriminator(generator(latents))).mean().backward()\n"
            "    discriminator.requires_grad_(True)\n"
            "    optimizer.step()",
            "helping the discriminator",
        ),
        (
            "def my_generator_turn(generator, discriminator, optimizer, latents):\n"
            "    optimizer.zero_grad()\n"
            "    discriminator.requires_grad_(False)\n"
            "    softplus(-discriminator(generator(latents))).mean().backward()\n"
            "    optimizer.step()",
            "unfreeze it",
        ),
    ],
    "07.3": [
        ("def my_decay(batch_size, halflife):\n    return 1 - batch_size / (halflife + 1)", "one half"),
        ("def my_decay(batch_size, halflife):\n    return max(1e-9, 1 - batch_size / halflife)", "one half"),
        ("def my_decay(batch_size, halflife):\n    return 0.5 ** (halflife / batch_size)", "upside down"),
        ("def my_decay(batch_size, halflife):\n    return 1 - batch_size / halflife", "between 0 and 1"),
    ],
    "07.4": [
        ('my_luggage = {"generator", "discriminator", "step", "latent_rng"}', "Adam moments"),
        (
            'my_luggage = {"generator", "discriminator", "generator_optimizer", "discriminator_optimizer",\n'
            '              "latent_rng", "step", "order"}',
            "do without",
        ),
        (
            'my_luggage = {"generator", "discriminator", "generator_optimizer", "discriminator_optimizer", "step"}',
            "same latents twice",
        ),
    ],
}
