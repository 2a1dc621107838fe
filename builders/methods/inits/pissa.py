"""PiSSA (Meng et al. 2024, arXiv:2404.02948): B·A starts as the r largest singular triplets of W,
and the frozen rest is what is left of W.

By Halko's randomized SVD with 16 iterations, which is what the paper times (§4.5) and PEFT calls
`pissa_niter_16`; its random numbers follow from `train.seed`.
"""

from adapterworks.builders.methods.inits.init import Init

PISSA = Init(
    "pissa",
    "Principal singular values and vectors",
    "Meng et al. 2024, arXiv:2404.02948",
    "pissa_niter_16",
    changes_base=True,
)
