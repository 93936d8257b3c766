"""Scans as people see them: planes with outlines, and results as HTML for notebooks."""
