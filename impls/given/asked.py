"""What a user says of the network's inputs, outputs and parameters beside the network itself."""

from __future__ import annotations

from typing import Any, NamedTuple

from impls.given.selection import Where


class Asked(NamedTuple):
    """`inputs`: which items of a batch; `select`: which output; `where`: which parameters; `params2`: values for those
    of a PyTorch module, by the names of its `state_dict`. See `impls.ntk`."""

    inputs: Any = None
    select: Any = None
    where: Where = None
    params2: Any = None


ALL = Asked()
