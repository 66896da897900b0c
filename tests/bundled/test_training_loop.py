"""The trainings of the bundled models: a few steps of each, on made-up volumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.balls import ball_head, ball_volume

from clisc_nnunet.bundled.augmentation import AugmentSettings
from clisc_nnunet.bundled.model_card import Provenance, export_model
from clisc_nnunet.bundled.prompt_noise import corrupted_prompt
from clisc_nnunet.bundled.slice_sampler import SliceSampler
from clisc_nnunet.bundled.train import load_shipped_weights, main
from clisc_nnunet.bundled.train_brain import brain_metrics
from clisc_nnunet.bundled.training_loop import LoopSettings, learning_rate, train
from clisc_nnunet.bundled.training_tasks import TRAINING_TASKS
from clisc_nnunet.errors import UserError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.weights import bundled_state, load_strictly, read_card, read_state


@pytest.fixture(scope="module")
def volumes():
    """Four brains, two of them with a bright ball."""
    return [ball_volume(k, tumour=k % 2 == 1) for k in range(4)]


def test_prompts_are_corrupted_but_usable(volumes):
    rng = np.random.default_rng(0)
    batch = SliceSampler(volumes).draw(100, 0.7, rng)
    sizes = []
    for pixels, tumour in zip(batch.pixels, batch.tumour, strict=True):
        box, points, labels, target = corrupted_prompt(pixels, tumour, rng)
        assert (box[2:] > box[:2]).all()
        assert box.min() >= 0
        assert box.max() <= 127
        assert points.shape == (9, 2)
        assert set(labels.tolist()) <= {-1, 0, 1}
        assert np.array_equal(target, tumour) or not target.any()
        x0, y0, x1, y1 = box.astype(int)
        assert target.any() == tumour[y0 : y1 + 1, x0 : x1 + 1].any()
        if target.any():
            sizes.append((x1 - x0) * (y1 - y0) / target.sum())
    assert min(sizes) < 0.7  # parts only
    assert max(sizes) > 3  # far too large


@pytest.mark.parametrize("name", list(TRAINING_TASKS))
def test_the_loss_falls_and_the_file_loads(volumes, tmp_path, name):
    recipe = TRAINING_TASKS[name]
    module, architecture = recipe.build(0)
    phantoms = [ball_head(0), ball_head(1)] if name == "brain" else volumes
    step = recipe.step(module, recipe.source(phantoms), 0, AugmentSettings())
    loop = LoopSettings(20, 3e-4, warm_up=2, log_every=5, save_every=100)
    # One batch again and again: what falls is learning, not luck with the batches.
    curve = train(module, lambda _: step(0), loop, tmp_path / "checkpoint.pt", lambda _: None)
    assert curve[-1]["loss"] < curve[0]["loss"]

    shipped = recipe.shipped(module)
    provenance = Provenance("command", 0, {}, {}, curve)
    path = export_model(name, shipped, architecture, provenance, {}, tmp_path)
    card = json.loads((tmp_path / f"{name}.json").read_text())
    assert card["limits"]
    assert card["sha256"] == file_sha256(path)
    again = recipe.shipped(recipe.build(1)[0])
    state = {key: value.float() for key, value in read_state(path).items()}
    load_strictly(again, state, name)
    assert card["parameters"] == sum(p.numel() for p in again.parameters())


def test_a_training_may_go_on_from_the_shipped_weights_and_tells_so():
    recipe = TRAINING_TASKS["classifier"]
    module, _ = recipe.build(0)
    history = load_shipped_weights("classifier", recipe, module)
    state, card = bundled_state("classifier")
    own = recipe.shipped(module).state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items())
    assert history[-1]["sha256"] == card["sha256"] == read_card("classifier")["sha256"]
    assert history[-1]["command"] == card["command"]
    assert history[:-1] == card.get("history", [])


def test_brain_metrics_tell_a_good_network_from_a_bad_one():
    heads = [ball_head(0), ball_head(2)]

    class Grey(torch.nn.Module):
        def __init__(self, low, high):
            super().__init__()
            self.low, self.high = low, high

        def forward(self, values):
            return (values - self.low) * (self.high - values)

    good, bad = (brain_metrics(Grey(*limits), heads) for limits in ((0.8, 1.0), (0.1, 0.3)))
    assert good == {"dice_brain": 1.0, "worst": 1.0}
    assert bad["dice_brain"] < 0.1


def test_a_training_that_was_stopped_resumes_to_the_same_weights(tmp_path):
    def run(steps, checkpoint):
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 1)

        def step(number):
            inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
            loss = ((module(inputs) - inputs.sum(1, keepdim=True)) ** 2).mean()
            return loss, {}

        settings = LoopSettings(10, 0.1, warm_up=2, log_every=2, save_every=5)
        if steps < 10:  # stopped: the schedule stays that of ten steps

            def stopping(number):
                if number == steps:
                    raise KeyboardInterrupt
                return step(number)

            with pytest.raises(KeyboardInterrupt):
                train(module, stopping, settings, checkpoint, lambda _: None)
            return None
        curve = train(module, step, settings, checkpoint, lambda _: None)
        return module.weight.detach().clone(), curve

    weights, curve = run(10, tmp_path / "whole.pt")
    run(7, tmp_path / "stopped.pt")
    again, curve_again = run(10, tmp_path / "stopped.pt")
    assert torch.equal(weights, again)
    assert [point["step"] for point in curve_again] == [point["step"] for point in curve]


def _train_a_little(checkpoint, made_with):
    """Lines of the log of a training of four steps."""
    module, log = torch.nn.Linear(3, 1), []
    loop = LoopSettings(4, 0.1, warm_up=1, log_every=4, save_every=2)
    train(module, lambda _: (module.weight.sum(), {}), loop, checkpoint, log.append, made_with)
    return log


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "sam.checkpoint.pt"
    _train_a_little(checkpoint, {"seed": 0, "zoom": (0.8, 1.3), "rate": 0.1})
    with pytest.raises(UserError, match=r"a training with seed 0; expected seed 1; .*another -o"):
        _train_a_little(checkpoint, {"seed": 1, "zoom": (0.8, 1.3), "rate": 0.1})
    log = _train_a_little(checkpoint, {"seed": 0, "zoom": (0.8, 1.3), "rate": 0.1})
    assert log == [f"already finished: step 4 of 4 in {checkpoint}"]


def test_a_checkpoint_without_a_record_resumes(tmp_path):
    checkpoint = tmp_path / "sam.checkpoint.pt"
    _train_a_little(checkpoint, None)
    saved = torch.load(checkpoint, weights_only=True)
    del saved["made_with"]
    torch.save({**saved, "step": 2}, checkpoint)
    log = _train_a_little(checkpoint, {"seed": 1})
    assert log[0] == f"resuming from step 2 of {checkpoint}"
    # What its first steps were made with is as unknown as before.
    assert torch.load(checkpoint, weights_only=True)["made_with"] is None


@pytest.fixture
def bundled_main(tmp_path, monkeypatch):
    """Calls the command for the brain extractor: two steps, on made-up heads; tells the status."""
    (tmp_path / "SET").mkdir()
    (tmp_path / "SET" / "recipe.json").write_text('{"drawing": 1, "kept_aside": {"drawing": 1}}')
    heads = [ball_head(0), ball_head(1)]
    quick = replace(
        TRAINING_TASKS["brain"], load=lambda *_: heads, metrics=lambda *_: {}, step=_quick_step
    )
    monkeypatch.setitem(TRAINING_TASKS, "brain", quick)
    whole = ["brain", "-i", str(tmp_path / "SET"), "-o", str(tmp_path / "WORK"), "--steps", "2"]
    return lambda *options: main([*whole, *options])


def _quick_step(module, *_):
    return lambda _: (sum(p.sum() for p in module.parameters()), {})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--seed", "1"], "seed 0; expected seed 1"),
        (["--rate", "0.5"], "learning_rate 0.003; expected learning_rate 0.5"),
        (["--steps", "3"], "steps 2; expected steps 3"),
        (["--go-on"], 'started from "nothing"; expected started from'),
    ],
)
def test_the_command_takes_up_no_other_training(bundled_main, tmp_path, capsys, options, found):
    assert bundled_main() == 0
    card = (tmp_path / "WORK" / "brain.json").read_text()
    assert bundled_main(*options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert found in line
    assert (tmp_path / "WORK" / "brain.json").read_text() == card
    assert bundled_main() == 0
    assert "already finished" in capsys.readouterr().out


def test_the_command_takes_up_no_training_on_other_phantoms(bundled_main, tmp_path, capsys):
    assert bundled_main() == 0
    recipe = tmp_path / "SET" / "recipe.json"
    recipe.write_text('{"drawing": 1, "kept_aside": {"drawing": 2}}')
    assert bundled_main() == 0  # held-out phantoms make no difference
    recipe.write_text('{"drawing": 2, "kept_aside": {"drawing": 2}}')
    assert bundled_main() == 2
    assert "drawing 1; expected drawing 2" in capsys.readouterr().err


def test_learning_rate_rises_and_falls():
    loop = LoopSettings(1000, 1.0, warm_up=100)
    rates = [learning_rate(step, loop) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, abs=1e-3)
    assert max(rates) == pytest.approx(rates[99], abs=0.03)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
    assert learning_rate(0, replace(loop, warm_up=1)) == pytest.approx(1.0)
