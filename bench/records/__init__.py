"""What is kept: one row a cell and replicate, where it is stored, and the machine that it was measured on."""
