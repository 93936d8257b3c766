"""What scanners and people give: scans, their grids in space, data sets of them, and the checks of both."""
