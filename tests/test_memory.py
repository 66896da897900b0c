import numpy as np

from clisc_nnunet.processes import peak_memory_gb


def test_a_large_array_raises_the_peak():
    before = peak_memory_gb()
    held = np.ones(int((before + 0.2) * 1e9) // 8)
    assert held.sum() > 0
    assert peak_memory_gb() >= before + 0.1
