"""Any method on any model: a network of one framework for the methods of the other. Here alone both are imported."""
