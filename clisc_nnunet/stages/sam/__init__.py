"""Stages 9 and 10: prompts from regions, and masks from prompts by SAM."""
