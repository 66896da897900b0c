"""Input layouts in, nnU-Net raw dataset out; and small plans for computers without a GPU."""
