"""Training of the bundled models on phantoms, reproducible by `clisc_nnunet.bundled.train`."""
