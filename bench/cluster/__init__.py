"""How a run is shared out over machines: Dask hands out cells and tiles, and this process alone writes what comes back.

Between the machines of a cluster Dask sends pickled objects and runs what it is sent: whoever reaches a worker or the
scheduler can do there what you can. So they have to trust each other, on a network of their own or by TLS. Of files
nothing is unpickled, here as elsewhere: the store of the results is SQLite's.
"""
