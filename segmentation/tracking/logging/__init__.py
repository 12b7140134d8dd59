"""How figures and files reach MLflow, and survive outages."""
