"""What the platform costs and what it is worth, measured on the machine at hand."""
