"""Download, verification and export of a data set."""
