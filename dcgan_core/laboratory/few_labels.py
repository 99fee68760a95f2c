"""A linear classifier on features that is given few labels, and the choice that it has to make with them.

How strongly it is regularised (C) is a choice, and choosing needs labels, too. Here it is made twice: from nothing but
the labels that were given, and from thousands of others, as is often done.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor

Labelled = tuple[Tensor, Tensor]  # features (N, F), or images (N, C, S, S), and labels (N,)

STRENGTHS = (0.1, 1.0, 10.0, 100.0)  # C: the larger, the less regularised
WITHOUT_CHOICE = 10.0  # with a single label in each class nothing can be held back to choose with
FOLDS = 2
MAX_ITERATIONS = 100


def draw(labels: Tensor, per_class: int, seed: int) -> Tensor:
    """Rows of so many random images of each class. Of a seed, more labels hold the fewer among them."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = [order[labels[order] == label][:per_class] for label in range(int(labels.max()) + 1)]
    assert all(len(rows) == per_class for rows in by_class), "a class has too few images"
    return torch.cat(by_class)


@dataclass(frozen=True)
class Probed:
    """Shares of held-out images that are classified rightly, and the C that was chosen."""

    inside: float  # with C chosen within the labels that were given
    hidden: float  # with C chosen by thousands of others
    inside_choice: float
    hidden_choice: float


def probe(given: Labelled, hidden: Labelled, test: Labelled) -> Probed:
    """Logistic regression on the features that have labels, and its accuracy on those of the test.

    C inside the budget is what does best in twofold cross-validation of the labels that were `given`; with one label in
    each class, there is nothing to hold back, and it is 10. Otherwise C is what does best on the `hidden` ones.
    """
    features, labels = given
    of_hidden, of_test = accuracies(given, hidden, test)
    hidden_choice = _best(of_hidden)
    inside_choice = WITHOUT_CHOICE
    if labels.bincount().min() > 1:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels)
        rows = [[torch.from_numpy(part) for part in fold] for fold in folds]
        found = [accuracies((features[kept], labels[kept]), (features[out], labels[out]))[0] for kept, out in rows]
        inside_choice = _best({strength: sum(each[strength] for each in found) for strength in STRENGTHS})
    return Probed(of_test[inside_choice], of_test[hidden_choice], inside_choice, hidden_choice)


def accuracies(given: Labelled, *judged: Labelled) -> list[dict[float, float]]:
    """For each set that is judged, the accuracy at every C of a regression on what is given.

    The best weights are sums of the given feature vectors, each times a number. So the vectors are first rotated into
    the space that they span, which is much smaller if they are few, and the weights are rotated back.
    """
    features, labels = given
    basis = torch.linalg.qr(features.T)[0] if 2 * len(features) < features.shape[1] else None  # (F, N)
    x, y = (features if basis is None else features @ basis).numpy(), labels.numpy()
    found: list[dict[float, float]] = [{} for _ in judged]
    model = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes")  # one label a class is meant
        for strength in STRENGTHS:
            model.set_params(C=strength).fit(x, y)
            rotated, shift = (torch.from_numpy(part).float() for part in (model.coef_, model.intercept_))
            if len(rotated) == 1:  # of two classes, scikit-learn keeps the weights of the second
                rotated, shift = torch.cat([-rotated, rotated]), torch.cat([-shift, shift])
            weights = rotated if basis is None else rotated @ basis.T  # (classes, F)
            for scores, (others, truth) in zip(found, judged, strict=True):
                said = (others @ weights.T + shift).argmax(dim=1)
                scores[strength] = float((said == truth).double().mean())
    return found


def _best(scores: dict[float, float]) -> float:
    """The C of the highest score; of equal ones, the smallest."""
    return max(sorted(scores), key=lambda strength: scores[strength])
