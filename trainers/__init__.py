"""Trainers that nnU-Net finds by name; none is shipped yet."""
