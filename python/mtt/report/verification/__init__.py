"""The report of ``mtt-verify``: one object, and a writer for each kind of reader."""

from .report import Check, Point, Report, Waiver

__all__ = ["Check", "Point", "Report", "Waiver"]
