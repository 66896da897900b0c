"""The rival: a U-Net on phantoms."""

import numpy as np
import torch
from helpers.balls import TUMOUR_GREY, ball_volume
from torch import nn

from benchmarks.phantom_unet import build, predict, unet_step
from clisc_nnunet.bundled.slice_sampler import SliceSampler


class Bright(nn.Module):
    """Calls tumour what is bright."""

    def forward(self, images):
        return images * 255 - (TUMOUR_GREY - 30)


def test_three_views_give_the_volume_back():
    volume = ball_volume(1, tumour=True)
    logits = predict(Bright(), volume.pixels)
    assert logits.shape == volume.pixels.shape
    assert np.array_equal(logits > 0, volume.tumour)


def test_the_loss_of_a_batch_falls():
    net = build()
    step = unet_step(net, SliceSampler([ball_volume(1, tumour=True), ball_volume(0, tumour=False)]))
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(6):
        loss, _ = step(0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
