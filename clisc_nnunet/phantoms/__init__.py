"""Phantoms: FLAIR-like heads with tumours whose truth we made."""
