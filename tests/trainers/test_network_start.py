"""Start of a training: weights, why they do not fit, and the learning rate after that."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from helpers.clisc_training import DEFAULT, continued, make_trainer
from helpers.tiny_nnunet import NAME, PLANS
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from clisc_nnunet.models.phantom_network import CONFIGURATION, load_phantom_network, misfit
from clisc_nnunet.models.weights import load_into
from clisc_nnunet.trainers.network_start import ShiftedPolyLR, choose_start


@pytest.fixture
def plan():
    """Configuration that has the architecture of the phantom network."""
    return copy.deepcopy(load_phantom_network().plans["configurations"][CONFIGURATION])


def test_a_plan_with_its_architecture_starts_from_the_phantom_network(plan):
    start = choose_start("phantoms", plan, channels=1, outputs=2)
    assert start.network is load_phantom_network()
    assert "phantom network" in start.reason


def test_random_weights_can_be_asked_for(plan):
    assert choose_start("random", plan, channels=1, outputs=2).network is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plan: plan.update(spacing=[2.0, 2.0, 2.0]), "spacing [2.0, 2.0, 2.0] mm"),
        (
            lambda plan: plan["architecture"]["arch_kwargs"].update(features_per_stage=[32, 64]),
            "features_per_stage [32, 64]",
        ),
        (
            lambda plan: plan["architecture"].update(network_class_name="x.ResidualEncoderUNet"),
            "the architecture ResidualEncoderUNet",
        ),
    ],
)
def test_other_plans_start_from_random_weights_and_the_reason_is_known(plan, change, reason):
    change(plan)
    start = choose_start("phantoms", plan, channels=1, outputs=2)
    assert start.network is None and reason in start.reason


@pytest.mark.parametrize(("channels", "outputs"), [(2, 2), (1, 3)])
def test_the_phantom_network_knows_one_channel_and_two_classes(plan, channels, outputs):
    assert f"{channels} channels" in misfit(plan, channels, outputs, load_phantom_network())


def phantom_plan(root):
    """Give the small heads' plan the architecture of the phantom network."""
    file = root / "nnUNet_preprocessed" / NAME / f"{PLANS}.json"
    plans = json.loads(file.read_text())
    own = load_phantom_network().plans["configurations"][CONFIGURATION]
    plans["configurations"][CONFIGURATION] |= {
        "architecture": own["architecture"], "spacing": own["spacing"], "patch_size": [16, 24, 16],
    }  # fmt: skip
    file.write_text(json.dumps(plans))


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.named_parameters()}


def test_a_trainer_starts_from_all_weights_and_returns_to_them(nnunet_root):
    phantom_plan(nnunet_root)
    trainer = make_trainer(nnunet_root, replace(DEFAULT, rounds=()), epochs=40)
    trainer.initialize()
    state = load_phantom_network().state
    found = weights(trainer)
    assert all(torch.equal(found[name], state[name]) for name in found)
    assert trainer.initial_lr == 1e-3
    trainer.lr_scheduler.step(0)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 / 3)
    with torch.no_grad():
        for value in trainer.network.parameters():
            value.add_(1)
    trainer.current_epoch = 10
    trainer._restart()
    assert all(torch.equal(value, state[name]) for name, value in weights(trainer).items())


def test_a_resumed_training_keeps_its_schedule_whatever_is_requested(nnunet_root, monkeypatch):
    phantom_plan(nnunet_root)
    settings = replace(DEFAULT, rounds=())
    trainer = make_trainer(nnunet_root, settings, epochs=2)
    trainer.initialize()
    trainer.current_epoch = 1
    trainer._save_latest()
    again = continued(nnunet_root, replace(settings, start="random"), epochs=2)
    assert again.initial_lr == 1e-3
    assert again.rounds.start == "phantoms"


def test_the_rate_rises_to_the_first_one_and_then_falls_as_nnunets():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = ShiftedPolyLR(optimizer, 0.01, first=0, last=10, warm_up=2)
    rates = []
    for epoch in range(10):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    stock = [0.01 * (1 - epoch / 10) ** 0.9 for epoch in range(10)]
    assert rates[0] == pytest.approx(stock[0] / 3)
    assert rates[1] == pytest.approx(stock[1] * 2 / 3)
    assert rates[2:] == pytest.approx(stock[2:])


def test_the_rate_starts_again_and_ends_at_the_end_of_the_schedule():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = ShiftedPolyLR(optimizer, 0.01, first=6, last=10)
    rates = []
    for epoch in range(6, 11):
        schedule.step(epoch)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == 0.01
    assert rates[2] == pytest.approx(0.01 * 0.5**0.9)
    assert rates[-1] == 0
    assert rates == sorted(rates, reverse=True)


def test_each_rate_is_nnunets_for_a_schedule_that_is_the_rest():
    ours, theirs = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0) for _ in "ab")
    restarted = ShiftedPolyLR(ours, 0.01, first=500, last=1000)
    stock = PolyLRScheduler(theirs, 0.01, 500)
    for epoch in (0, 1, 250, 499):
        restarted.step(500 + epoch)
        stock.step(epoch)
        assert ours.param_groups[0]["lr"] == theirs.param_groups[0]["lr"] > 0
        assert restarted.get_last_lr() == [ours.param_groups[0]["lr"]]


def test_before_the_restart_the_rate_is_the_first():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = ShiftedPolyLR(optimizer, 0.01, first=6, last=10)
    schedule.step(3)
    assert optimizer.param_groups[0]["lr"] == 0.01


class Wrapped(torch.nn.Module):
    """As DistributedDataParallel holds a network."""

    def __init__(self, inner):
        super().__init__()
        self.module = inner


def compiled(network):
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize(
    "wrap",
    [lambda network: network, Wrapped, compiled, lambda network: Wrapped(compiled(network))],
    ids=["plain", "distributed", "compiled", "both"],
)
def test_a_network_gets_fresh_weights_however_it_is_wrapped(wrap):
    old, fresh = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    parameters, wanted = list(old.parameters()), fresh.weight.clone()
    load_into(wrap(old), fresh.state_dict())
    assert torch.equal(old.weight, wanted) and torch.equal(old.bias, fresh.bias)
    # The optimizer goes on with the same parameters; learning does not reach the fresh ones.
    assert all(a is b for a, b in zip(parameters, old.parameters(), strict=True))
    with torch.no_grad():
        old.weight.add_(1)
    assert torch.equal(fresh.weight, wanted)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_into(torch.nn.Linear(3, 2), torch.nn.Linear(4, 2).state_dict())
