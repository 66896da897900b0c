"""Classes of a slice, for the stages that label slices, learn from them and explain them."""

NORMAL, TUMOUR, UNSURE = 0, 1, -1
