"""Checks that need no labels: quality of predictions, and how well text prompts separate."""
