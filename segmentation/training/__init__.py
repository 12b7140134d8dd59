"""The training loop and its parts. It knows no tracker and no console."""
