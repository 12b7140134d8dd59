"""A search: its plan, its workers, its end."""
