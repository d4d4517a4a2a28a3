"""Disks, kernels and keys of the guests, made from image definitions."""
