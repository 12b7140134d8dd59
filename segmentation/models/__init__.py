"""The network, and prediction on photos of any size."""
