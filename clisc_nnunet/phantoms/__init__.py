"""Phantoms: synthetic FLAIR scans with tumours and exact reference masks."""
