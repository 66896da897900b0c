"""The stages of the paper as functions on arrays; none knows a case, a file or a cache."""
