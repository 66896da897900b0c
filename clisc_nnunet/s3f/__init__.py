"""S3F, the paper's similarity filtering: how well SAM agrees with a network, case by case."""
