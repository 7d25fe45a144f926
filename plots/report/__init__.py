"""report.html and report.md: what results files say, for a reader who has nothing but the report."""
