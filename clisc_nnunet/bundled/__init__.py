"""How the bundled models were trained: on phantoms alone, and again at will."""
