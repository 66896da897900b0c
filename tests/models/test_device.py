import pytest
import torch

from clisc_nnunet.models.device import at_precision, chosen_precision

CPU = torch.device("cpu")


def test_cpus_use_full_precision_by_default():
    assert chosen_precision("auto", CPU) == "fp32"
    assert chosen_precision("bf16", CPU) == "bf16"


@pytest.mark.parametrize(("capability", "chosen"), [((8, 0), "bf16"), ((7, 5), "fp32")])
def test_gpus_from_ampere_on_use_bf16(monkeypatch, capability, chosen):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert chosen_precision("auto", torch.device("cuda")) == chosen


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("auto", torch.float32), ("bf16", torch.bfloat16)],
)
def test_products_have_the_precision(precision, dtype):
    layer = torch.nn.Linear(3, 2)
    with torch.inference_mode(), at_precision(precision, CPU):
        assert layer(torch.ones(1, 3)).dtype == dtype
    assert layer.weight.dtype == torch.float32
