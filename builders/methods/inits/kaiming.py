"""A uniform as a linear's own weights, B zero: what Hu et al. published, and PEFT's default."""

from adapterworks.builders.methods.inits.init import Init

KAIMING = Init("kaiming", "A uniform, B zero", "Hu et al. 2021, arXiv:2106.09685, code")
