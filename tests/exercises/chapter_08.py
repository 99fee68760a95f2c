"""Typical wrong answers to the exercises of chapter 08, and a fragment of what the reader is told."""

SETUP = "import math\nimport torch"

WRONG = {
    "08.1": [
        (
            "def my_gradient_norm(network):\n"
            "    return sum(float(w.grad.norm()) for w in network.parameters() if w.grad is not None)",
            "You add the norms of the weights",
        ),
        (
            "def my_gradient_norm(network):\n"
            "    return sum(float(w.grad.abs().sum()) for w in network.parameters() if w.grad is not None)",
            "You add the absolute values",
        ),
        (
            "def my_gradient_norm(network):\n"
            "    return sum(float(w.grad.square().sum()) for w in network.parameters() if w.grad is not None)",
            "the square of the norm",
        ),
        (
            "def my_gradient_norm(network):\n"
            "    if all(w.grad is None for w in network.parameters()):\n"
            "        return 0.0\n"
            "    return sum(float(w.detach().square().sum()) for w in network.parameters()) ** 0.5",
            "the weights and not their gradients",
        ),
        (
            "def my_gradient_norm(network):\n"
            "    return sum(float(w.grad.square().sum()) for w in network.parameters()) ** 0.5",
            "Your code stopped with AttributeError",
        ),
    ],
    "08.2": [
        (
            "def my_motion(now, before):\n    return float((now - before).abs().mean())",
            "a change of contrast looks like a change of speed",
        ),
        (
            "def my_motion(now, before):\n    return float((now.mean(dim=0) - before.mean(dim=0)).mean() * 0)",
            "must not cancel",
        ),
        (
            "def my_motion(now, before):\n"
            "    return float((now.mean(dim=0) - before.mean(dim=0)).abs().mean() / now.std(dim=0).mean())",
            "Movements of both signs cancel",
        ),
        (
            "def my_motion(now, before):\n    return float((now - before).mean() / now.std(dim=0).mean())",
            "Movements of both signs cancel",
        ),
        (
            "def my_motion(now, before):\n    return float((now - before).abs().mean() / now.std())",
            "the standard deviation of all numbers",
        ),
        (
            "def my_motion(now, before):\n    return float((now - before).abs().mean() / before.std(dim=0).mean())",
            "divide by that of `now`",
        ),
        (
            "def my_motion(now, before):\n"
            "    return float((now - before).square().mean().sqrt() / now.std(dim=0).mean())",
            "the root of the mean square",
        ),
        (
            "def my_motion(now, before):\n    return float((now - before).abs().mean() / now.std(dim=0).sum())",
            "pixel by pixel, then the mean",
        ),
    ],
    "08.3": [
        ("my_loss = math.log(2)", "one half of it"),
        ("my_loss = 2.0", "in bits"),
        ("my_loss = 2 * math.log(0.5)", "it is positive"),
    ],
    "08.4": [
        (
            "def my_diagnosis(now):\n"
            "    if now['diversity'] < 0.5:\n"
            "        return 'collapsed'\n"
            "    return 'strong' if now['right'] > 0.95 else 'healthy'",
            "a confident discriminator, a steep gradient",
        ),
        (
            "def my_diagnosis(now):\n"
            "    if now['right'] > 0.95:\n"
            "        return 'strong'\n"
            "    return 'collapsed' if now['diversity'] < 0.5 else 'healthy'",
            "almost no gradient",
        ),
        (
            "def my_diagnosis(now):\n"
            "    if now['right'] > 0.95 and now['gradient'] > 20:\n"
            "        return 'strong'\n"
            "    return 'collapsed' if now['diversity'] < 0.5 else 'healthy'",
            "ask for that first",
        ),
    ],
}
