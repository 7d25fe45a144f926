"""report.html and report.md: results files for a reader who has nothing but the report."""
