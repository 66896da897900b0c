"""The stages of the paper as functions on arrays, independent of files and caches."""
