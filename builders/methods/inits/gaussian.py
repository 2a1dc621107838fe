"""A normal with a standard deviation of 1/r, B zero: as Hu et al. wrote, and diffusers do."""

from adapterworks.builders.methods.inits.init import Init

GAUSSIAN = Init("gaussian", "A normal, B zero", "Hu et al. 2021, §4.1", "gaussian")
