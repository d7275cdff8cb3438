"""What a decoded latent says about a cell: distributions of counts, or of continuous values.

Each distribution is over one minibatch and offers the same four things: the log-likelihood of
observed values, the mean, the cumulative probability of observed values (randomised where they
are discrete), and its inverse. Sampling goes through the inverse, so that a table of quantiles
(`nn.quantiles`) can stand between the uniform draw and the value.
"""

from __future__ import annotations

from scdiff_core.nn.exact import AsTheyAre, Rounded
from scdiff_core.nn.hurdle_normal import HurdleNormal
from scdiff_core.nn.negative_binomial import NegativeBinomial
from scdiff_core.nn.values import Values

__all__ = ["AsTheyAre", "HurdleNormal", "Likelihood", "NegativeBinomial", "Rounded", "Values"]

Likelihood = NegativeBinomial | HurdleNormal | Rounded | AsTheyAre
