"""Label-free brain tumour segmentation in FLAIR MRI: an nnU-Net v2 plugin (CLISC)."""

__version__ = "0.1.0"
