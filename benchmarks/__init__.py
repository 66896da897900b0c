"""Measurements and the demonstration; with `clisc_nnunet.evaluation` the only readers of masks."""
