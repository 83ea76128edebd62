"""What a column of training rows looked like, and counts of other rows in the same bins and categories."""

from __future__ import annotations

from forgeline.distributions.categorical import CategoricalCounts as CategoricalCounts
from forgeline.distributions.categorical import CategoricalReference as CategoricalReference
from forgeline.distributions.categorical_block import CategoricalBlock as CategoricalBlock
from forgeline.distributions.numeric import NumericCounts as NumericCounts
from forgeline.distributions.numeric import NumericReference as NumericReference
from forgeline.distributions.numeric_block import NumericBlock as NumericBlock

__all__ = [
    "CategoricalBlock",
    "CategoricalCounts",
    "CategoricalReference",
    "NumericBlock",
    "NumericCounts",
    "NumericReference",
]
