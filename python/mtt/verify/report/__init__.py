"""The report of ``mtt-verify``: one object, and a writer for each kind of reader."""

from mtt.verify.report.report import Check, Point, Report, Waiver

__all__ = ["Check", "Point", "Report", "Waiver"]
