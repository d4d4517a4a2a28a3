"""Disks, kernels and keys of the guests, made from image definitions."""

# What decides on the content of an image, beside its recipe: part of its fingerprint.
BUILDING = (
    "guest_images/build.py",
    "guest_images/kernel.py",
    "guest_images/scripts.py",
    "guest_images/sources.py",
)
