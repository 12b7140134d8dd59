"""What an analysis found, in words and pictures."""
