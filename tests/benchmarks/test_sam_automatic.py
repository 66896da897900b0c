import numpy as np
import torch

from benchmarks import sam_automatic
from benchmarks.sam_automatic import automatic_masks, point_grid
from clisc_nnunet.settings import SamSettings
from clisc_nnunet.stages.sam.batched_predictor import decode, embed


def test_points_lie_on_the_brain():
    brain = np.zeros((128, 128), bool)
    brain[:64, :32] = True  # 4 rows and 2 columns of the 8x8 grid
    points = point_grid(brain)
    assert points.shape == (8, 2)
    assert points[:, 0].max() < 32  # x is the column
    assert 32 < points[:, 1].max() < 64
    assert len(point_grid(np.ones((128, 128), bool))) == 64


def test_the_best_rated_mask_is_taken(random_sam):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 128, 128), np.uint8)
    brain = np.zeros(pixels.shape, bool)
    brain[0, 20:90, 20:90] = True
    masks = automatic_masks(random_sam, pixels, brain)
    points = torch.from_numpy(point_grid(brain[0]))
    with torch.inference_mode():
        embedding = embed(random_sam, pixels[:1], SamSettings())
        rated = [
            float(
                decode(
                    random_sam,
                    embedding,
                    point[None, None],
                    torch.ones((1, 1), dtype=torch.int64),
                    None,
                )[1]
            )
            for point in points
        ]
    assert np.isclose(masks.predicted_iou[0], max(rated), atol=1e-5)
    # Nothing is asked where there is no brain.
    assert masks.predicted_iou[1] == 0
    assert (masks.logits[1] < 0).all()


def test_boxes_lie_round_the_points_and_on_the_slice(random_sam, monkeypatch):
    seen = []

    def watched(sam, embeddings, points, labels, boxes):
        seen.append((points.numpy(), boxes.numpy()))
        return decode(sam, embeddings, points, labels, boxes)

    monkeypatch.setattr(sam_automatic, "decode", watched)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 128, 128), np.uint8)
    automatic_masks(random_sam, pixels, np.ones(pixels.shape, bool), 0.5)
    ((points, boxes),) = seen
    assert points[0, 0].tolist() == [8, 8]
    assert boxes[0].tolist() == [0, 0, 40, 40]
    assert boxes[-1].tolist() == [88, 88, 127, 127]
