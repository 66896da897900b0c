"""Class labels of slices, shared by the stages that use them."""

NORMAL, TUMOUR, UNSURE = 0, 1, -1
