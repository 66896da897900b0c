"""The stages of the paper as functions on arrays, independent of cases and of the result cache.

Exceptions: text prompts and brain masks are read from files, and SAM's embeddings are cached.
"""
