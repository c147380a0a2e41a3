"""What is shown: the page with its sections and figures, the tables, the picture."""
