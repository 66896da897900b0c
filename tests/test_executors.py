import math

import pytest

from clisc_nnunet.errors import ScanError
from clisc_nnunet.executors import make_executor


def fail(path):
    raise ScanError(path, "x", "y", "z")


@pytest.mark.parametrize("processes", [1, 2])
def test_results_and_errors_come_back_whole(processes):
    with make_executor(processes) as executor:
        assert [executor.submit(math.sqrt, n).result() for n in (4, 9)] == [2, 3]
        with pytest.raises(ScanError, match=r"a\.nii: found x; expected y; z") as caught:
            executor.submit(fail, "a.nii").result()
    assert caught.value.cure == "z"
