"""A second opinion, beyond the paper: where SAM is not sure, it draws once more without the region.

A region in the wrong place pulls SAM away from the tumour. A box round the whole brain leaves it
alone with what it knows of tumours, and its own estimate tells which of the two answers is better.
"""

from __future__ import annotations

import numpy as np

from clisc_nnunet.drawing import Draughtsman, Drawn
from clisc_nnunet.pseudo_label import case_iou
from clisc_nnunet.records import Masks
from clisc_nnunet.slices import SliceStack

# Estimates of the IoU that are closer than this tell nothing.
BETTER_BY = 0.1


def rating(drawn: Drawn) -> float:
    """SAM's own estimate of the IoU of what it drew, a mean over planes; 0 if it drew nothing."""
    return case_iou(Masks(drawn.logits[drawn.planes], drawn.predicted_iou))


def second_opinion(
    draughtsman: Draughtsman, case: str, stack: SliceStack, region: np.ndarray, first: Drawn
) -> Drawn | None:
    """What SAM draws from the whole brain, if it rates that clearly higher.

    Parameters
    ----------
    draughtsman : Draughtsman
    case : str
    stack : SliceStack
    region : bool ndarray of shape (plane, row, column)
        Tells the planes alone.
    first : Drawn
        From the region.

    Returns
    -------
    Drawn or None
        None: the first answer stays.
    """
    hint = stack.brain & region.any(axis=(1, 2), keepdims=True)
    again = draughtsman.draw(case, stack, hint)
    return again if rating(again) >= rating(first) + BETTER_BY else None
