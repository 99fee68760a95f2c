"""Typical wrong answers to the exercises of chapter 18, and a fragment of what the reader is told."""

SETUP = "import torch"

DELETE = "def my_rows_to_delete(images):\n"
TIMES = "def my_times_shown(num_images, held_out, total_images):\n"
STRANGE = "def my_strangeness(features, k):\n    distances = torch.cdist(features, features)\n"

WRONG = {
    "18.1": [
        (
            DELETE + "    return [row for row in range(1, len(images)) if (images[row] == images[row - 1]).all()]",
            "and not",
        ),
        (
            DELETE + "    texts = [image.numpy().tobytes() for image in images]\n"
            "    return [row for row in range(len(images)) if texts.count(texts[row]) > 1]",
            "the first of each stays",
        ),
        (
            DELETE + "    flat = images.flatten(1).float()\n"
            "    near = torch.cdist(flat, flat) < 5\n"
            "    return [row for row in range(len(images)) if near[row, :row].any()]",
            "differ in one pixel",
        ),
        (DELETE + "    return []", "rows 0, 2 and 4 are equal"),
    ],
    "18.2": [
        (TIMES + "    return total_images / num_images", "held out and never shown"),
        (TIMES + "    return total_images / (num_images * held_out)", "division by zero"),
        (TIMES + "    return total_images // (num_images * (1 - held_out))", "not even half"),
    ],
    "18.3": [
        (STRANGE + "    return distances.sort(dim=1).values[:, k - 1]", "the point itself"),
        (STRANGE + "    return distances.sort(dim=1).values[:, k + 1]", "skipped one too many"),
        (STRANGE + "    return distances.square().sort(dim=1).values[:, k]", "squared distance"),
        (
            STRANGE + "    return distances.sort(dim=1).values[:, 1 : k + 1].mean(dim=1)",
            "not the distance to neighbour 3",
        ),
        (STRANGE + "    return distances.sort(dim=1).values", "has the shape"),
    ],
    "18.4": [
        ('my_cause_a = "too few images"', "copies of training images"),
        ('my_cause_a = "stopped too early"', "still be falling steeply"),
        ('my_cause_a = "two kinds of pictures"', "would be of two kinds"),
        ('my_cause_a = "nothing is wrong"', "levelled off"),
        ('my_cause_a = "bad luck"', "is none of the answers"),
    ],
    "18.5": [
        ('my_cause_b = "stopped too early"', "shown a few times only"),
        ('my_cause_b = "the rates are too high"', "jump from line to line"),
        ('my_cause_b = "two kinds of pictures"', "would be of two kinds"),
        ('my_cause_b = "nothing is wrong"', "few copies"),
    ],
    "18.6": [
        ('my_cause_c = "too few images"', "copies of training images"),
        ('my_cause_c = "stopped too early"', "shown a few times only"),
        ('my_cause_c = "the rates are too high"', "jump from line to line"),
        ('my_cause_c = "nothing is wrong"', "levelled off"),
    ],
    "18.7": [
        ('my_cause_d = "too few images"', "copies of training images"),
        ('my_cause_d = "the rates are too high"', "jump from line to line"),
        ('my_cause_d = "two kinds of pictures"', "would be of two kinds"),
        ('my_cause_d = "nothing is wrong"', "levelled off"),
    ],
}
