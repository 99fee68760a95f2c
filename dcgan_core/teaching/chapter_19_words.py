"""Chapter 19, which rules matter: what is said of the study's rows, made of its record, so that it cannot be wrong.

Nothing here knows a result. What a source predicts of a change is written down; what came out is asked of `effects`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from math import comb

from dcgan_core.laboratory.ablation import BASES, DATA, rows
from dcgan_core.laboratory.effects import LEVEL, Effect, in_words
from dcgan_core.laboratory.standings import Interval
from dcgan_core.teaching.chapter_19_rules import PREDICTED, TRICKS

Found = Sequence[Effect]
MARKS = {"worse": "▶", "better": "◀", "not told apart": "●"}  # as in the figures: to the right is farther from the data


class Said:
    """Generated text: Markdown where it can be shown, and its source elsewhere."""

    def __init__(self, markdown: str) -> None:
        self.markdown = markdown

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


def of(found: Found, change: str, base: str | None = None) -> list[Effect]:
    """The comparisons of a row, in one base or in both."""
    return [one for one in found if one.change == change and base in (None, one.base)]


def ratio_in_words(effect: Effect) -> str:
    """×1.84; or that most runs diverged."""
    return "diverged" if math.isinf(effect.ratio) else f"×{effect.ratio:.2f}"


def listed(names: Iterable[str], nothing: str = "none") -> str:
    """a, b and c."""
    *most, last = list(names) or [nothing]
    return f"{', '.join(most)} and {last}" if most else last


def where(effects: Found, with_ratio: bool = True) -> str:
    """On which data sets of which bases: paper: letters ×1.84 and clothes ×2.10; ours: letters ×1.30."""
    parts = []
    for base in BASES:
        own = [f"{one.data} {ratio_in_words(one)}" if with_ratio else one.data for one in effects if one.base == base]
        parts += [f"{base}: {listed(own)}"] if own else []
    return "; ".join(parts)


def told(found: Found, changes: Iterable[str]) -> Said:
    """Of some rows: which are worse than their base, which better and where, and which were told apart nowhere."""
    changes = [change for change in changes if of(found, change)]
    lines = []
    for verdict in ("worse", "better"):
        entries = []
        for change in changes:
            own = [one for one in of(found, change) if one.verdict == verdict]
            entries += [f"*{change}* ({where(own)})"] if own else []
        lines.append(f"- {MARKS[verdict]} **{verdict.capitalize()} than the base:** {'; '.join(entries) or 'none'}.")
    apart = [change for change in changes if all(one.verdict == "not told apart" for one in of(found, change))]
    entries = [f"*{change}*" for change in apart]
    lines.append(
        f"- {MARKS['not told apart']} **Not told apart from the base anywhere:** {'; '.join(entries) or 'none'}."
    )
    return Said("\n".join(lines))


def smallest_p(num: int, num_others: int) -> float:
    """Of the rank test with so many runs against so many, two-sided: all of one side beyond all of the other."""
    return min(1.0, 2 / comb(num + num_others, num))


def in_short(found: Found) -> Said:
    """How many comparisons there are, how many were told apart, how many ran to which verdict, and what diverged."""
    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in MARKS}
    diverged = [
        f"*{one.change}* ({one.base}, {one.data}: {one.num_diverged} of {one.num_runs})"
        for one in found
        if one.num_diverged
    ]
    sentences = [
        f"Of {len(found)} comparisons, {counts['worse']} are worse than their base, {counts['better']} better, and "
        f"{counts['not told apart']} are not told apart from it."
    ]
    if min(smallest_p(one.num_runs, one.num_base_runs) for one in found) * len(found) > 1 - LEVEL:
        sentences.append(
            "**The record is not complete: with so few runs of a row, no p value could survive the correction, so that "
            "nothing can be told apart yet.**"
        )
    for base in BASES:
        for verdict in ("worse", "better"):
            names = [
                f"*{change}*"
                for change in rows(base)
                if (own := of(found, change, base))
                and all(one.verdict == verdict for one in own)
                and len(own) == len(DATA)
            ]
            sentences.append(f"In `{base}`, {verdict} on both data sets: {listed(names)}.")
    sentences.append(f"Runs diverged in: {'; '.join(diverged) or 'no row'}.")
    return Said("\n\n".join(sentences))


def agreement(found: Found, predicted: Mapping[str, str | None]) -> tuple[int, int, int]:
    """Comparisons that came out as predicted, the other way round, and not told apart; of rows with a prediction."""
    asked = [(one, predicted[one.change]) for one in found if predicted.get(one.change)]
    for_it = sum(one.verdict == wanted for one, wanted in asked)
    open_ = sum(one.verdict == "not told apart" for one, _ in asked)
    return for_it, len(asked) - for_it - open_, open_


def surprises(found: Found) -> Said:
    """What came out against a prediction, what was told apart nowhere in spite of one, and what came out as said."""
    against, silent, as_said = [], [], []
    for change, wanted in PREDICTED.items():
        own = of(found, change)
        other = [one for one in own if one.verdict not in (wanted, "not told apart")]
        if other:
            against.append(f"*{change}*, said to be {wanted}, is {other[0].verdict} ({where(other)})")
        elif own and all(one.verdict == "not told apart" for one in own):
            silent.append(f"*{change}*")
        elif own and all(one.verdict == wanted for one in own):
            as_said.append(f"*{change}*")
    for_it, contradicted, open_ = agreement(found, PREDICTED)
    lines = [
        f"Sources predict {for_it + contradicted + open_} of the comparisons: {for_it} came out as predicted, "
        f"{contradicted} the other way round, and {open_} could not be told from no effect.",
        f"- **The other way round:** {'; '.join(against) or 'none'}.",
        f"- **As predicted, everywhere it was played:** {'; '.join(as_said) or 'none'}.",
        f"- **Predicted, and told apart nowhere:** {'; '.join(silent) or 'none'}.",
    ]
    return Said(lines[0] + "\n\n" + "\n".join(lines[1:]))


def apart(one: Interval, other: Interval) -> bool:
    """Whether two intervals have nothing in common."""
    return one[1] < other[0] or other[1] < one[0]


def shared(found: Found) -> list[tuple[Effect, Effect]]:
    """The comparisons that both bases have: of a change on a data set, in `paper` and in `ours`."""
    ours = {(one.change, one.data): one for one in found if one.base == "ours"}
    return [
        (one, ours[one.change, one.data]) for one in found if one.base == "paper" and (one.change, one.data) in ours
    ]


def interactions(found: Found) -> Said:
    """Which changes have effects of different size in the two recipes: those whose intervals do not overlap."""
    pairs = shared(found)
    lines: dict[str, list[str]] = {}
    for paper, ours in pairs:
        if apart(paper.interval, ours.interval):
            both = f"{paper.data} {in_words(paper)} in `paper`, {in_words(ours)} in `ours`"
            lines.setdefault(paper.change, []).append(both)
    opposite = [
        f"*{paper.change}* on {paper.data} ({paper.verdict} in `paper`, {ours.verdict} in `ours`)"
        for paper, ours in pairs
        if {paper.verdict, ours.verdict} == {"worse", "better"}
    ]
    one_sided = [
        f"*{paper.change}* on {paper.data} ({seen.base}, {seen.verdict})"
        for paper, ours in pairs
        for seen, other in ((paper, ours), (ours, paper))
        if seen.verdict != "not told apart" and other.verdict == "not told apart"
    ]
    body = [f"- *{change}*: {'; '.join(parts)}." for change, parts in lines.items()]
    body.append(f"- A verdict in one recipe only: {'; '.join(one_sided) or 'none'}.")
    folded = "\n".join(body)
    return Said(
        f"Of {len(pairs)} comparisons that both recipes have, {sum(map(len, lines.values()))} have intervals that do "
        f"not overlap: {listed(f'*{change}*' for change in lines)}. Opposite verdicts: {'; '.join(opposite) or 'none'}."
        f"\n\n<details>\n<summary>How large each effect is, and what has a verdict in one recipe only</summary>\n\n"
        f"{folded}\n\n</details>"
    )


def resolution(found: Found) -> Said:
    """How large an effect may hide behind "not told apart": how far the intervals of those comparisons reach."""
    open_ = [one.interval for one in found if one.verdict == "not told apart"]
    factors = sorted(math.sqrt(high / low) if low > 0 else math.inf for low, high in open_)
    if not factors or math.isinf(factors[len(factors) // 2]):
        return Said("There are too few runs for intervals.")
    low, high = (sum(not interval[0] <= 1 <= interval[1] for interval in open_), factors[len(factors) // 2])
    return Said(
        f"{len(open_)} comparisons are not told apart from their base. Half of their intervals reach from the estimate "
        f"by a factor of ×{high:.2f} or more to either side, so that an effect of that size would stay unseen. "
        f"{low} of them would have been called an effect without the correction: their intervals leave out 1."
    )


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def order(found: Found, base: str) -> list[str]:
    """The rows of a base, the largest mean effect over the data sets first; a diverged row comes before all."""
    played = [change for change in rows(base) if of(found, change, base)]

    def size(change: str) -> float:
        logs = [math.log(max(one.ratio, 1e-9)) for one in of(found, change, base)]
        return sum(logs) / len(logs)

    return sorted(played, key=size, reverse=True)


def results(found: Found, base: str) -> Said:
    """All rows of a base in numbers, folded away: a line for each data set."""
    body = []
    for change in order(found, base):
        for one in of(found, change, base):
            diverged = f", {one.num_diverged} diverged" if one.num_diverged else ""
            recognised = f"{one.recognised[0]:.0%} ({one.recognised[1]:.0%})"
            cells = (
                in_words(one),
                f"{one.p:.3f}",
                recognised,
                f"{one.cost:.2f}",
                f"{MARKS[one.verdict]} {one.verdict}",
            )
            body.append((change, f"{one.data}, {one.num_runs}:{one.num_base_runs}{diverged}", *cells))
    header = ("change", "data, runs", "distance", "p", "recognised (base)", "time", "verdict")
    title = f"All {len(order(found, base))} rows of {base} in numbers"
    return Said(f"<details>\n<summary>{title}</summary>\n\n{table(header, body)}\n\n</details>")


def judged(found: Found) -> Said:
    """The seventeen tricks of the list: those that rows measure, with their verdicts; folded away, where the others are
    treated or why they are not measured.
    """
    measured, others = [], []
    for number, trick in enumerate(TRICKS, 1):
        if not trick.rows:
            others.append((str(number), trick.says, trick.elsewhere))
            continue
        cells = [f"*{change}*: {marked(of(found, change))}" for change in trick.rows if of(found, change)]
        for_it, against, open_ = agreement(found, trick.rows)
        counts = f"{for_it} / {against} / {open_}" if for_it + against + open_ else "–"
        measured.append((str(number), trick.says, "; ".join([*cells, trick.elsewhere]).strip("; "), counts))
    first = table(("", "the trick", "what measures it here", "for / against / open"), measured)
    second = table(("", "the trick", "where it is treated, or why it is not measured"), others)
    summary = f"The {len(others)} that no row measures"
    return Said(f"{first}\n\n<details>\n<summary>{summary}</summary>\n\n{second}\n\n</details>")


def marked(effects: Found) -> str:
    """Marks of a row: paper ▶▶, ours ●◀; letters come before clothes."""
    parts = []
    for base in BASES:
        own = "".join(MARKS[one.verdict] for one in effects if one.base == base)
        parts += [f"{base} {own}"] if own else []
    return ", ".join(parts)
