"""The stages over many cases: order, cached results, failures, worker processes."""
