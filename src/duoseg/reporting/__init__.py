"""One self-contained HTML page about one or several runs: data in, page out."""

from duoseg.reporting.page import write_report
from duoseg.reporting.records import CasePicture, RunSummary

__all__ = ["CasePicture", "RunSummary", "write_report"]
