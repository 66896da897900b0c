"""Load a SAM: the small bundled one, or a checkpoint of a published architecture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.models.architecture_detection import describe_weights, detect_sam_architecture
from clisc_nnunet.models.locate import Located, locate
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam_attention import fuse_attention
from clisc_nnunet.models.weights import bundled_state, load_strictly, read_state


@dataclass(frozen=True)
class TinySamConfig:
    """Architecture of the bundled SAM, built from segment_anything's classes."""

    image_size: int = 128
    patch_size: int = 8
    width: int = 96
    depth: int = 4
    heads: int = 4
    window: int = 8
    decoder_width: int = 64


@dataclass(frozen=True)
class SamModel:
    """A SAM ready for inference.

    Parameters
    ----------
    sam : Sam
    name : str
        Name or path that loads the same model again.
    sha256 : str
        Hash of the weight file.
    taken_as : str
        JSON of the input normalisation; empty if it is the architecture's default.
    """

    sam: Sam
    name: str
    sha256: str
    taken_as: str = ""

    @property
    def identity(self) -> str:
        """Weight hash plus normalisation: equal for models with equal outputs."""
        return f"{self.sha256} {self.taken_as}".strip()


def load_sam(name: str, device: torch.device) -> SamModel:
    """Load a SAM in evaluation mode, without gradients.

    Parameters
    ----------
    name : str
        `bundled`; a name of the registry, downloaded on first use; the path of a checkpoint of SAM
        ViT-B, ViT-L or ViT-H; or `NAME=PATH`, a file with the normalisation of the registry's
        NAME (`medsam=PATH`, since MedSAM's differs from SAM's).
    device : torch.device

    Raises
    ------
    WeightsError
        If the weights are missing, corrupt or of another architecture.
    """
    taken_as = ""
    if name == BUNDLED_NAME:
        state, card = bundled_state("sam")
        sam = build_tiny_sam(TinySamConfig(**card["architecture"]))
        load_strictly(sam, state, "bundled SAM")
        digest = card["sha256"]
    else:
        found = locate(name, "sam")
        sam, taken_as = _published(found, read_state(found.path))
        digest, name = file_sha256(found.path), found.name
    fuse_attention(sam.image_encoder)
    return SamModel(sam.to(device).eval().requires_grad_(False), name, digest, taken_as)


def build_tiny_sam(config: TinySamConfig) -> Sam:
    """The bundled architecture with random weights; images in 0..255, as for every SAM."""
    grid = config.image_size // config.patch_size
    encoder = ImageEncoderViT(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        mlp_ratio=4,
        out_chans=config.decoder_width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        # Every second block has global attention, the others attend within a window.
        global_attn_indexes=tuple(range(1, config.depth, 2)),
        window_size=config.window,
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=2, embedding_dim=config.decoder_width, mlp_dim=256, num_heads=4
        ),
        transformer_dim=config.decoder_width,
        iou_head_depth=2,
        iou_head_hidden_dim=64,
    )
    prompts = PromptEncoder(
        embed_dim=config.decoder_width,
        image_embedding_size=(grid, grid),
        input_image_size=(config.image_size, config.image_size),
        mask_in_chans=16,
    )
    return Sam(encoder, prompts, decoder, pixel_mean=[0.0] * 3, pixel_std=[255.0] * 3)


def _published(found: Located, state: dict[str, torch.Tensor]) -> tuple[Sam, str]:
    """SAM of a published architecture with its entry's normalisation, and `SamModel.taken_as`."""
    entry, architecture = found.entry, detect_sam_architecture(state)
    if architecture is None or (entry is not None and architecture != entry.architecture):
        wanted = (
            f"{entry.what} ({entry.name})" if entry is not None else "SAM ViT-B, ViT-L or ViT-H"
        )
        raise WeightsError(
            found.path,
            f"weights of {describe_weights(state)}",
            f"a checkpoint of {wanted}",
            "give another file, or omit --sam to use the bundled one",
        )
    # The meta device skips random initialisation and keeps only one copy of a ViT-H in memory.
    with torch.device("meta"):
        sam = sam_model_registry[architecture]()
    state = {key: value.float() for key, value in state.items()}
    load_strictly(sam, state, str(found.path), assign=True)
    if entry is None:
        return sam, ""
    own = sam.pixel_mean, sam.pixel_std
    sam.pixel_mean = torch.tensor(entry.mean).view(-1, 1, 1)
    sam.pixel_std = torch.tensor(entry.std).view(-1, 1, 1)
    if torch.equal(own[0], sam.pixel_mean) and torch.equal(own[1], sam.pixel_std):
        return sam, ""
    return sam, json.dumps({"mean": entry.mean, "std": entry.std})
