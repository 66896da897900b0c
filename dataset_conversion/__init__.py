"""Conversion of scans into an nnU-Net raw dataset, and small plans for computers without a GPU."""
