"""What a run has come to: advice on what to try next, and one page that shows it."""

from dcgan_core.report.advice import Advice, advise, in_proportion, outcome
from dcgan_core.report.page import write_report

__all__ = ["Advice", "advise", "in_proportion", "outcome", "write_report"]
