"""What store and cache hold, and what of it can go."""
