"""What tests of several modules build: scans, datasets, finished runs, servers."""
