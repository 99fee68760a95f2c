"""Typical wrong answers to the exercises of chapter 17, and a fragment of what the reader is told."""

SETUP = "import torch"

FLOP = "def my_flop(batch, channels_in, channels_out, kernel, side):\n    return "
LEAST = "def my_least_seconds(flop, num_bytes, flop_per_second, bytes_per_second):\n    return "
FINISH = "def my_finish(launch, kernels):\n"
LOOP = "def my_loop(bench, num_steps):\n"
READ = "    images = torch.stack([bench.decode(file) for file in bench.files])\n"
TRAIN = "    losses = [bench.update(images[bench.rows(step)]).tolist() for step in range(num_steps)]\n"
END = "    score = bench.evaluate()\n    bench.draw()\n    return losses, score"

WRONG = {
    "17.1": [
        (FLOP + "batch * channels_in * channels_out * kernel**2 * side**2", "count as two"),
        (FLOP + "2 * batch * channels_in * channels_out * kernel * side**2", "kernel has two sides"),
        (FLOP + "2 * batch * channels_in * channels_out * kernel**2 * side", "output has two sides"),
        (FLOP + "2 * channels_in * channels_out * kernel**2 * side**2", "each image of the batch"),
        (FLOP + "2 * batch * channels_out * kernel**2 * side**2", "looks at all input channels"),
        (FLOP + "2 * batch * channels_in * channels_out * kernel**2 * (side + 1) ** 2", "and not"),
    ],
    "17.2": [
        (LEAST + "flop / flop_per_second + num_bytes / bytes_per_second", "both at once"),
        (LEAST + "min(flop / flop_per_second, num_bytes / bytes_per_second)", "computing takes 2 s"),
        (LEAST + "flop / flop_per_second", "however fast the machine computes"),
        (LEAST + "max(flop_per_second / flop, bytes_per_second / num_bytes)", "and not 2 s"),
    ],
    "17.3": [
        (FINISH + "    return launch + sum(kernels)", "the last launch decides"),
        (FINISH + "    return max(launch * len(kernels), sum(kernels))", "launched after 5"),
        (FINISH + "    return len(kernels) * launch + kernels[-1]", "the launches are ahead"),
        (FINISH + "    return sum(max(launch, kernel) for kernel in kernels)", "launched after 5"),
        (
            FINISH + "    return launch + sum(max(launch, k) for k in kernels[:-1]) + kernels[-1]",
            "short ones use that up",
        ),
    ],
    "17.4": [
        ('my_waits = {"losses", "draw", "evaluate"}', "the losses are there"),
        ('my_waits = {"read", "update", "draw"}', "the training itself"),
        ('my_waits = {"evaluate", "draw"}', "one more"),
        ('my_waits = {"read"}', "one more, or several"),
        ('my_waits = {"read", "evaluate", "Adam"}', "is no part"),
        ('my_waits = "read"', "in a set"),
    ],
    "17.5": [
        (LOOP + READ + TRAIN + "    return losses, 0.0", "distance at the end is missing"),
        (LOOP + READ + TRAIN + "    return losses, bench.evaluate()", "picture at the end is missing"),
        (LOOP + READ + TRAIN + END.replace("return losses", "return losses[1:]"), "yours returns 5"),
        (LOOP + READ + TRAIN + END.replace("losses, score", "losses, 0.0"), "yours returns 0"),
        (
            LOOP + "    score = bench.evaluate()\n    bench.draw()\n" + READ + TRAIN + "    return losses, score",
            "last update",
        ),
        (LOOP + READ + TRAIN.replace("images[bench.rows(step)]", "images[:16]") + END, "another training"),
        (
            LOOP + "    losses = []\n    for step in range(num_steps):\n"
            "        real = torch.stack([bench.decode(bench.files[row]) for row in bench.rows(step)])\n"
            "        losses.append(bench.update(real).tolist())\n" + END,
            "files were decoded",
        ),
        (
            LOOP + READ + "    losses = []\n    for step in range(num_steps):\n"
            "        losses.append(bench.update(images[bench.rows(step)]).tolist())\n"
            "        score = bench.evaluate()\n    bench.draw()\n    return losses, score",
            "called 6 times",
        ),
    ],
}
