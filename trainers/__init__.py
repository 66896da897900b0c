"""nnUNetTrainerCLISC and its variants, which nnU-Net finds by name."""
