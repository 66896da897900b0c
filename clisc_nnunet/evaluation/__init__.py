"""Scores predictions and pipeline stages against references; nothing else reads references."""
