"""How good generated images are: distances of feature vectors, the networks that make these of images, and copies."""

from dcgan_core.metrics.classifiers import Classifier
from dcgan_core.metrics.distances import (
    RECOGNISED_AT,
    Coverage,
    KernelDistance,
    Moments,
    class_divergence,
    coverage,
    frechet_distance,
    kernel_distance,
    moments,
    squared_discrepancy,
)
from dcgan_core.metrics.evaluation import Features, Judge, judge_for
from dcgan_core.metrics.features import letter_classifier, shipped_classifier
from dcgan_core.metrics.neighbours import nearest_neighbours, one_nn_accuracy, precision_recall

__all__ = [
    "RECOGNISED_AT",
    "Classifier",
    "Coverage",
    "Features",
    "Judge",
    "KernelDistance",
    "Moments",
    "class_divergence",
    "coverage",
    "frechet_distance",
    "judge_for",
    "kernel_distance",
    "letter_classifier",
    "moments",
    "nearest_neighbours",
    "one_nn_accuracy",
    "precision_recall",
    "shipped_classifier",
    "squared_discrepancy",
]
