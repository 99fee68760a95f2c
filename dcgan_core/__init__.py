"""The package behind "Deep Convolutional GANs in Practice": small, tested, and the same code that the book prints."""

__version__ = "0.1.0"
