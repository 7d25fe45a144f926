"""From measurements to pictures and reports."""
