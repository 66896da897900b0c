"""Find the scans of an input folder, with their cases and modalities."""
