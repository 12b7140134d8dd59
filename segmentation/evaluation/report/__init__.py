"""What an analysis found, told in words and pictures."""
