"""The report of ``mtt-verify``: one object, and a writer for each kind of reader."""

from mtt.verify.report.report import Check, Point, Report
from mtt.verify.report.verdicts import Finding, Verdict, Waiver

__all__ = ["Check", "Finding", "Point", "Report", "Verdict", "Waiver"]
