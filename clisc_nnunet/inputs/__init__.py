"""Which scans lie in a folder, and which case and channel each belongs to."""
