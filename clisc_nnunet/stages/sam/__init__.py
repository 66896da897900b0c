"""SAM's stages, 9 and 10: from regions to prompts, and from prompts to masks of a volume."""
