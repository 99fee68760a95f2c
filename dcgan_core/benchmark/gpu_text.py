"""A report on a GPU as lines for people; `gpu_report` says what its keys mean."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dcgan_core.benchmark.timing import table

LARGEST_FILE = 16_000_000  # bytes; larger ones do not belong in a repository
NAME_WIDTH = 90  # of a kernel
PAUSES = {  # what to call them, and the field that says how often they come
    "evaluation": ("one evaluation", "evaluate_every_images"),
    "samples": ("one grid of samples", "sample_every_images"),
    "checkpoint": ("one checkpoint", "checkpoint_every_images"),
}


def text(report: dict[str, Any]) -> str:
    """The whole report."""
    results = {name: part["result"] for name, part in report["parts"].items() if part["result"]}
    sections = [_head(report, results.get("machine")), _goals(report), _parts(report)]
    if tests := results.get("tests"):
        sections.append(_tests(tests))
    for name, result in results.items():
        kind = name.partition("-")[0]
        if kind in ("ladder", "precision"):
            graph = ", recorded as a graph" if kind == "precision" and result["machine"].get("captured") else ""
            sections.append(f"{name.upper()}: {_networks(result['config'])}{graph}\n\n{table(result)}")
        elif kind == "train":
            sections.append(_training(name, result))
        elif kind == "profile":
            sections.append(_profile(name, result))
        elif kind == "costs":
            sections.append(_costs(name, result))
    if recorded := {name: result for name, result in results.items() if name.startswith("record-")}:
        sections.append(_recorded(recorded))
    return "\n\n\n".join(sections) + "\n"


def _head(report: dict[str, Any], machine: dict[str, Any] | None) -> str:
    lines = [f"REPORT of {report['started']}, made in {report['seconds']:.0f} s"]
    if report["small"]:
        lines.append("In the small form, to see that every part works: its numbers say nothing about speed.")
    if machine:
        lines.append(f"{machine['device']}, {machine['system']}, {machine['cpu_cores']} CPU cores")
        names = ("dcgan_core", "python", "torch", "torchvision", "numpy", "matplotlib", "pillow", "cuda", "cudnn")
        lines.append(", ".join(f"{name} {machine[name]}" for name in names if machine.get(name)))
    for package, parts in report["missing"].items():
        lines.append(f"{package} is missing (pip install {package}): skipped are {', '.join(parts)}.")
    return "\n".join(lines)


def _goals(report: dict[str, Any]) -> str:
    lines = [f"GOALS{'':38}{'wanted':>12}{'found':>14}"]
    for line in report["goals"]:
        wanted = f"{'>=' if line['at_least'] else '<='} {_number(line['wanted'])}"
        found = "not measured" if line["found"] is None else _number(line["found"])
        reached = {True: "reached", False: "MISSED", None: ""}[line["reached"]]
        lines.append(f"{line['goal']:43}{wanted:>12}{found:>14}  {reached}".rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _parts(report: dict[str, Any]) -> str:
    lines = [f"PARTS{'':20}{'seconds':>8}{'peak GPU memory':>18}"]
    for name, part in report["parts"].items():
        num_bytes = (part["result"] or {}).get("peak_memory_bytes")
        memory = f"{num_bytes / 2**20:,.0f} MiB" if num_bytes else "-"
        lines.append(f"{name:25}{part['seconds']:8.1f}{memory:>18}  {part['status']} {part['why'] or ''}".rstrip())
    return "\n".join(lines)


def _tests(tests: dict[str, Any]) -> str:
    lines = [f"TESTS: {tests['passed']} passed, {len(tests['failed'])} failed, {len(tests['skipped'])} skipped"]
    lines += [f"  failed: {name}" for name in tests["failed"]]
    lines += [f"  {num} skipped: {why}" for why, num in Counter(tests["skipped"].values()).items()]
    return "\n".join(lines)


def _networks(config: dict[str, Any]) -> str:
    widths = f"widths {config['generator_width']} and {config['discriminator_width']}"
    return f"{config['image_size']} px, channels {config['channels']}, {widths}, batch {config['batch_size']}"


def _training(name: str, result: dict[str, Any]) -> str:
    between, bare = (
        "{:,.0f} ({:,.0f}-{:,.0f})".format(*result[key]) for key in ("between_evaluations", "bare_images_per_second")
    )
    lines = [
        f"{name.upper()}: {_networks(result['config'])}, {_way(result)}",
        "",
        f"train as a whole      {result['images_per_second']:,.0f} images/s over {result['images']:,} images",
        f"between evaluations   {between} images/s",
        f"bare iteration        {bare} images/s, before and after",
        f"ratio                 {result['ratio']:.2f}",
    ]
    for what, times in result["pause_seconds"].items():
        name, interval = PAUSES[what]
        spread = "{:.3f} ({:.3f}-{:.3f})".format(*times)
        lines.append(f"{name:22}{spread} s, every {result['config'][interval]:,} images")
    return "\n".join(lines)


def _way(result: dict[str, Any]) -> str:
    machine = result["machine"]
    recorded = "recorded as a graph" if machine["captured"] else "not recorded"
    why = f" ({result['not_captured_because']})" if result["not_captured_because"] else ""
    return f"{machine['precision']}, {recorded}{why}"


def _profile(name: str, result: dict[str, Any]) -> str:
    lines = [f"{name.upper()}: where the time goes; {_way(result)}"]
    for which in ("as_trained", "eager"):
        found = result[which]
        busy = "" if found["busy"] is None else f"; the card is busy for {found['busy']:.0%} of it"
        lines += [
            "",
            f"{which.replace('_', ' ')}: {1000 * found['seconds_per_step']:.2f} ms an iteration{busy}; "
            f"{found['launches_per_step']:.0f} launches, which take the CPU {found['launch_share']:.0%} of its time",
        ]
        lines += [
            f"{top['share']:7.1%} {top['calls_per_step']:7.1f} x {top['name'][:NAME_WIDTH]}" for top in found["top"]
        ]
    return "\n".join(lines)


def _costs(name: str, result: dict[str, Any]) -> str:
    lines = [f"{name.upper()}: time of an image, as a multiple of the first row's"]
    lines += [f"{change:30}" + "{:5.2f} ({:.2f}-{:.2f})".format(*found) for change, found in result["costs"].items()]
    return "\n".join([*lines, f"Median (lowest-highest) of {result['turns']} turns."])


def _recorded(results: dict[str, dict[str, Any]]) -> str:
    lines = ["RECORDED RUNS, trained side by side, so that their seconds are no speeds"]
    for result in results.values():
        measured = result["evaluation"]
        classes = f", {measured['recognised']:.0%} recognised" if measured["num_classes"] else ""
        largest = max(result["bytes"].values())
        lines.append(
            f"{result['folder']}: {result['images']:,} of {result['asked_images']:,} images in {result['seconds']:.0f} "
            f"s, Fréchet distance {measured['frechet_distance']:.1f}{classes}; largest file {largest / 1e6:.1f} MB"
        )
        if largest > LARGEST_FILE:
            lines.append(f"  which is more than the {LARGEST_FILE / 1e6:.0f} MB that a repository should hold")
    lines.append("To keep one: copy its folder into dcgan_core/recorded_runs.")
    return "\n".join(lines)
