"""Test data shared by several modules: scans, datasets, finished runs, servers."""
