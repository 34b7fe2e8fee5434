"""A re-weigher that is a rule written by hand."""

from __future__ import annotations

from llm_wrappers.guidance.goals import bounded_factor
from llm_wrappers.methods.sgrl.unlock_report import UnlockReport

__all__ = ["ReferenceReweigher"]


class ReferenceReweigher:
    """Lowers the weight of goals by how often they are reached; written by hand, asks no model.

    SGRL (arXiv 2509.22008, appendix B.3) has a model re-weight the goals from what is unlocked. Its
    weights are not published, and this rule is our choice: a factor is multiplied by
    ``0.5 ** success rate``, so that a goal of every episode counts half as much as before, and one
    that was never reached keeps its factor. Factors stay in [0.1, 10].

    >>> report = UnlockReport(
    ...     2_000_000, 50, {"collect wood": 1.0, "collect diamond": 0.0}
    ... )
    >>> ReferenceReweigher().factors(report)
    {'collect wood': 0.5, 'collect diamond': 1.0}
    """

    def factors(self, report: UnlockReport) -> dict[str, float]:
        """Return the new factor of each goal.

        Args:
            report: What the recent episodes reached.
        """
        return {
            goal: bounded_factor(report.factor(goal) * 0.5**rate)
            for goal, rate in report.success_rates.items()
        }
