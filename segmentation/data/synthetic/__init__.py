"""The built-in sample of drawn pets."""
