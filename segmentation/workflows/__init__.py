"""What each entry point does, one module each."""
