"""The shared networks as each framework builds them from its own layers. May import `impls.frameworks`."""
