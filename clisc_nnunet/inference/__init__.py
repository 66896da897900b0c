"""Segmentation of scans with a trained network: no labels, CLIP or SAM are needed."""
