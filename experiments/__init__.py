"""One module for each MLproject entry point."""
