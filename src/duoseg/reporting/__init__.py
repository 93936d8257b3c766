"""One self-contained HTML page about one or several runs: data in, page out."""

from duoseg.pictures.planes import CasePicture
from duoseg.reporting.page import write_report
from duoseg.reporting.records import RunSummary

__all__ = ["CasePicture", "RunSummary", "write_report"]
