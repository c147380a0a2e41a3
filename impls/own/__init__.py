"""A network of the user's own: recognised, checked, computed; `impls.ntk` is its face. May import all of `impls`."""
