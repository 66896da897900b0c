"""Trainers that nnU-Net finds by name: nnUNetTrainerCLISC and its small family."""
