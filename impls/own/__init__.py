"""A network of the user's own: recognised, checked, and handed to the methods; `impls.ntk` is its face."""
