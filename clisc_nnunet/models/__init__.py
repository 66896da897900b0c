"""The registry of models, and their loading."""
