"""The benchmark's two ways on the tiny SAM: what counts is that both do what they say."""

import time

import numpy as np
import torch

from benchmarks import model_speed
from benchmarks.model_speed import Stopwatch, make_slices, ours, straightforward
from clisc_nnunet.settings import SamSettings

CPU = torch.device("cpu")


def calls_of(encoder):
    seen = []
    encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return seen


def test_here_each_slice_is_encoded_once_and_there_once_a_round(random_sam):
    pixels, prompts = make_slices(3)
    seen = calls_of(random_sam.image_encoder)
    watch = Stopwatch(CPU, time.perf_counter)
    ours(random_sam, pixels, prompts, watch, SamSettings(batch=2), 2)
    assert seen == [2, 1]
    assert 0 < watch.within < watch.total
    seen.clear()
    straightforward(random_sam, pixels[:1], prompts[:1], watch, 2)
    assert seen == [1, 1]


def test_a_stopwatch_tells_the_share_outside():
    ticks = iter([0.0, 2.0, 5.0, 10.0])
    watch = Stopwatch(CPU, lambda: next(ticks))
    module = torch.nn.Identity()
    with watch.running(module):
        module(torch.zeros(1))
    assert (watch.total, watch.within, watch.share_outside) == (10.0, 3.0, 0.7)


def test_slices_show_what_the_prompts_point_at():
    pixels, prompts = make_slices(2)
    assert pixels.shape == (2, model_speed.SIDE, model_speed.SIDE)
    x0, y0, x1, y1 = prompts.boxes[0].astype(int)
    assert pixels[0, (y0 + y1) // 2, (x0 + x1) // 2] >= 200
    assert np.median(pixels[0]) < 200
