"""The figures of a report: SVG by hand, and pictures of samples."""
