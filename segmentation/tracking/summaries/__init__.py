"""What each kind of run shows on its page."""
