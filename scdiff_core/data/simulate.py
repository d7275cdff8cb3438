r"""A simulated Perturb-seq experiment whose true effects are known: `demo:perturb`.

The model, with types k, programs p, regulators r, genes g, batches b and cells i:

* Input of a program under a condition that knocks down (u = −1) or activates (u = +1) regulators:
  ``x_p = strength · gamma · Σ_r W_pr u_r``. W is sparse and signed: every regulator acts on three programs
  with weights of 0.5 to 1.2, a third of them repressing. ``gamma`` is 1 for one regulator; for a pair it is that
  pair's own: 1 (additive), 1.7 (synergistic) or 0.4 (buffering); for more, the product over their pairs.
* The stimulus: ``x_p = strength · V_p · d^n / (d^n + EC50^n)``, dose d, n = 1.2, EC50 = 1 (Hill).
* Saturation: the program's activity changes by ``D_kp = C_kp · S · tanh(x_p / S)``, S = 2. The competence
  ``C_kp`` of a type is 0 (one in six) or 0.5 to 1.3: the same perturbation does different things to
  different types.
* Log expression: ``eta_kg = base_g + T_kg + Σ_p L_gp (B_kp + D_kp) + own_g``. Base is normal (sd 1.7), T normal
  (sd 0.25), B is 1.6 for the two programs that make a type and 0 elsewhere, L has 60 genes a program with
  weights of 0.3 to 1.1 (one in seven negative), ``own`` is the regulator's own transcript: −1.8 knocked
  down, +1.5 activated.
* A cell: ``log mu_ig = log l_i + eta_kg + Σ_p L_gp z_ip + beta_bg − log N_kb``, z normal (sd 0.25), beta
  normal (sd 0.12); ``N_kb`` is the expectation of the sum over genes, so that mu_i sums to the depth l_i on
  average. l_i is lognormal (sd 0.35) about 3,000 times the type's size (0.8 to 1.3).
* Counts are negative binomial, drawn as Poisson of gamma: variance ``mu + phi_g mu²``, phi lognormal
  about 0.25 (sd 0.4).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdiff_core import keys
from scdiff_core.errors import ScdiffError, nearest

CONTROL = "control"
STIMULUS = "stimulus"
KNOCK_DOWN, ACTIVATION = "-kd", "-oe"
DOSES = (0.1, 0.3, 1.0, 3.0, 10.0)
TYPES = ("type_A", "type_B", "type_C", "type_D")
TYPE_SHARE = (0.4, 0.3, 0.2, 0.1)
TYPE_SIZE = (1.0, 0.8, 1.3, 0.9)
BATCHES = ("batch_1", "batch_2")
N_REGULATORS, N_PROGRAMS, GENES_A_PROGRAM, N_MITO = 20, 12, 60, 10
SATURATION, HILL, EC50 = 2.0, 1.2, 1.0
GAMMA = {"additive": 1.0, "synergistic": 1.7, "buffering": 0.4}
DEPTH, DEPTH_SD, CELL_SD = 3000.0, 0.35, 0.25
SHARE_OF_CONTROL = 0.2
UNS = "simulation"


@dataclass(frozen=True)
class Truth:
    """The simulated organism: every parameter, and the true mean response of every condition, seen or not.

    A condition is ``"control"``, ``"stimulus"`` (with a dose), a regulator with its suffix (``"TF03-kd"``,
    ``"TF14-oe"``), or several of these joined by ``+``.
    """

    seed: int
    strength: float
    genes: np.ndarray  # [G]
    base: np.ndarray  # [K, G] log
    loading: np.ndarray  # [P, G] log units of expression a unit of activity
    network: np.ndarray  # [P, R]
    stimulus: np.ndarray  # [P]
    competence: np.ndarray  # [K, P]
    gamma: np.ndarray  # [R, R] symmetric
    batch_shift: np.ndarray  # [B, G] log
    phi: np.ndarray  # [G]

    @classmethod
    def build(cls, n_genes: int = 2000, seed: int = 0, strength: float = 1.0) -> Truth:
        """Draw the parameters from `seed`; `strength` scales all inputs (small: the linear regime).

        Raises
        ------
        ScdiffError
            Fewer genes than regulators, mitochondrial genes and one program need (200).
        """
        if n_genes < 200:
            raise ScdiffError("The simulation cannot be made.", f"{n_genes} genes were asked for.",
                              "Ask for at least 200 genes.")
        rng = np.random.default_rng([seed, 7])
        k, p, r = len(TYPES), N_PROGRAMS, N_REGULATORS
        n_other = n_genes - r - N_MITO
        names = [f"TF{i + 1:02d}" for i in range(r)] + [f"MT-S{i + 1:02d}" for i in range(N_MITO)] \
            + [f"GENE{i + 1:04d}" for i in range(n_other)]
        base = np.clip(rng.normal(0, 1.7, n_genes), -4.5, 4.5)
        base[:r] = rng.uniform(0.8, 2.2, r)  # regulators are seen in most cells
        base[r:r + N_MITO] = np.log(0.005 * np.exp(base).sum())  # together about 5 % of the counts
        loading = np.zeros((p, n_genes))
        for row in loading:
            chosen = rng.choice(np.arange(r + N_MITO, n_genes), GENES_A_PROGRAM, replace=False)
            row[chosen] = rng.uniform(0.3, 1.1, GENES_A_PROGRAM) * np.where(
                rng.random(GENES_A_PROGRAM) < 1 / 7, -1, 1)
        network = np.zeros((p, r))
        for column in range(r):
            rows = rng.choice(p, 3, replace=False)
            network[rows, column] = rng.uniform(0.5, 1.2, 3) * np.where(rng.random(3) < 1 / 3, -1, 1)
        stimulus = np.where(rng.random(p) < 0.35, rng.uniform(0.8, 2.0, p), 0.0)
        stimulus[0] = 1.5
        identity = np.zeros((k, p))
        for row, chosen in zip(identity, rng.permutation(p)[:2 * k].reshape(k, 2), strict=True):
            row[chosen] = 1.6
        by_type = base + rng.normal(0, 0.25, (k, n_genes)) + identity @ loading
        competence = np.where(rng.random((k, p)) < 1 / 6, 0.0, rng.uniform(0.5, 1.3, (k, p)))
        kinds = rng.choice(list(GAMMA.values()), (r, r), p=[0.5, 0.25, 0.25])
        gamma = np.triu(kinds, 1) + np.triu(kinds, 1).T
        batch_shift = rng.normal(0, 0.12, (len(BATCHES), n_genes))
        phi = np.exp(rng.normal(np.log(0.25), 0.4, n_genes))
        return cls(seed, strength, np.array(names), by_type, loading, network, stimulus, competence, gamma,
                   batch_shift, phi)

    @classmethod
    def of(cls, adata: Any) -> Truth:
        """Return the truth behind cells that `simulate` made."""
        return cls.build(**json.loads(adata.uns[UNS]))

    @property
    def regulators(self) -> list[str]:
        """The regulators' names, which are genes."""
        return self.genes[:N_REGULATORS].tolist()

    def pair_kind(self, condition: str) -> str:
        """Return ``"additive"``, ``"synergistic"`` or ``"buffering"`` for a pair."""
        i, j = (r for r, _ in self._parts(condition))
        return next(k for k, v in GAMMA.items() if v == self.gamma[i, j])

    def _parts(self, condition: str) -> list[tuple[int, int]]:
        """Return (regulator, −1 or +1) for each part of a condition."""
        parts = []
        for part in condition.split("+"):
            name, sign = part[:-3], {KNOCK_DOWN: -1, ACTIVATION: 1}.get(part[-3:])
            if sign is None or name not in self.regulators:
                known = [r + s for r in self.regulators for s in (KNOCK_DOWN, ACTIVATION)]
                raise ScdiffError(f"The simulation has no perturbation '{part}'.",
                                  nearest(part, [*known, CONTROL, STIMULUS])
                                  or f"Its regulators are {self.regulators[0]} to {self.regulators[-1]}.",
                                  f"Write it as {known[0]} or {known[1]}, and join several with '+'.")
            parts.append((self.regulators.index(name), sign))
        if len({r for r, _ in parts}) < len(parts):
            raise ScdiffError(f"'{condition}' cannot be simulated.", "It names a regulator twice.",
                              "Name each regulator once.")
        return parts

    def program_input(self, condition: str, dose: float = 1.0) -> np.ndarray:
        """Return the input x [P] of the programs under a condition (before saturation)."""
        if condition == CONTROL:
            return np.zeros(N_PROGRAMS)
        if condition == STIMULUS:
            return self.strength * self.stimulus * dose**HILL / (dose**HILL + EC50**HILL)
        parts = self._parts(condition)
        regulators = [r for r, _ in parts]
        gamma = np.prod([self.gamma[a, b] for i, a in enumerate(regulators) for b in regulators[i + 1:]])
        return self.strength * gamma * sum(sign * self.network[:, r] for r, sign in parts)

    def log_effect(self, condition: str, cell_type: str, dose: float = 1.0) -> np.ndarray:
        """Return the change of log expression against control [G] (natural log, before composition)."""
        k = self._type(cell_type)
        change = self.competence[k] * SATURATION * np.tanh(self.program_input(condition, dose) / SATURATION)
        effect = change @ self.loading
        if condition not in (CONTROL, STIMULUS):
            for r, sign in self._parts(condition):
                effect[r] += self.strength * (1.5 if sign > 0 else -1.8)
        return effect

    def _type(self, cell_type: str) -> int:
        if cell_type not in TYPES:
            raise ScdiffError(f"The simulation has no cell type '{cell_type}'.",
                              nearest(cell_type, TYPES) or "It has " + ", ".join(TYPES) + ".",
                              "Use one of its types.")
        return TYPES.index(cell_type)

    def log_rates(self, condition: str, cell_type: str, dose: float = 1.0) -> np.ndarray:
        """Return log shares [B, G] of a cell with z = 0; over cells they sum to 1 on average."""
        eta = self.base[self._type(cell_type)] + self.log_effect(condition, cell_type, dose)
        eta = eta + self.batch_shift
        return eta - np.log(np.exp(eta + self._spread).sum(axis=1, keepdims=True))

    @cached_property
    def _spread(self) -> np.ndarray:
        """What the cells' own program activity adds to the log of the mean [G] (lognormal)."""
        return 0.5 * CELL_SD**2 * (self.loading**2).sum(axis=0)

    def mean(self, condition: str, cell_type: str, dose: float = 1.0, units: str = "log1p") -> np.ndarray:
        """Return the true mean expression [G] of the cells of a condition and type, over both batches.

        Parameters
        ----------
        units
            ``"counts"``: E[counts] of a cell, in closed form. ``"log1p"``: E[log1p(10,000 · counts / total)],
            by quadrature over depth, program activity and negative-binomial noise, the total taken as the
            depth (good to about 0.01).
        """
        rates = self.log_rates(condition, cell_type, dose)
        depth = DEPTH * TYPE_SIZE[self._type(cell_type)]
        if units == "counts":
            return depth * np.exp(DEPTH_SD**2 / 2) * np.exp(rates + self._spread).mean(axis=0)
        if units != "log1p":
            raise ScdiffError(f"There are no units '{units}'.", "The units are 'log1p' and 'counts'.",
                              "Use one of these.")
        nodes, weights = np.polynomial.hermite_e.hermegauss(5)
        total = np.zeros(len(self.genes))
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            library = depth * np.exp(DEPTH_SD * node)
            grid, value = _poisson_log1p(keys.TARGET_SUM / library)
            for row in rates:
                mu = library * np.exp(row)[:, None] * self._noise_factors
                total += weight * np.interp(np.log(mu), grid, value).mean(axis=1) / len(rates)
        return total

    @cached_property
    def _noise_factors(self) -> np.ndarray:
        """Factors [G, 40] of equal weight: exp(L·z) times gamma noise, sorted and averaged in bins."""
        n, bins = 2000, 40
        rng = np.random.default_rng(1)
        sd = np.sqrt(2 * self._spread)
        draws = np.exp(sd[:, None] * rng.permutation(_normal_quantiles(n)))
        draws = draws * rng.standard_gamma(1 / self.phi[:, None], (len(sd), n)) * self.phi[:, None]
        return np.sort(draws, axis=1).reshape(len(sd), bins, -1).mean(axis=2)

    def conditions(self) -> list[str]:
        """Return the perturbations that `simulate` samples (control and the stimulus left out)."""
        names = self.regulators
        singles = [n + KNOCK_DOWN for n in names[:12]] + [n + ACTIVATION for n in names[12:]]
        pairs: dict[str, list[str]] = {kind: [] for kind in GAMMA}
        for i, a in enumerate(singles):
            for b in singles[i + 1:]:
                pairs[self.pair_kind(f"{a}+{b}")].append(f"{a}+{b}")
        rng = np.random.default_rng([self.seed, 11])
        return singles + [str(c) for kind in pairs.values()
                          for c in sorted(rng.choice(kind, min(5, len(kind)), replace=False))]

    def sample(self, obs: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """Draw the counts [N, G] of cells with cell_type, perturbation, dose and batch in `obs`."""
        batch = pd.Categorical(obs[keys.BATCH], categories=list(BATCHES)).codes
        kinds = pd.Categorical(obs[keys.CELL_TYPE], categories=list(TYPES)).codes
        dose = obs[keys.DOSE].fillna(1.0).to_numpy()
        eta = np.empty((len(obs), len(self.genes)), np.float32)
        arms = pd.DataFrame({"c": obs[keys.PERTURBATION].astype(str).to_numpy(), "d": dose, "k": kinds})
        arms["row"] = np.arange(len(arms))
        for rows in arms.groupby(["c", "d", "k"])["row"].apply(np.array):
            condition, d, k = arms.loc[rows[0], ["c", "d", "k"]]
            eta[rows] = self.log_rates(condition, TYPES[k], d)[batch[rows]]
        eta += (rng.normal(0, CELL_SD, (len(obs), N_PROGRAMS)) @ self.loading).astype(np.float32)
        depth = DEPTH * np.array(TYPE_SIZE)[kinds] * np.exp(rng.normal(0, DEPTH_SD, len(obs)))
        mu = np.exp(eta) * depth[:, None].astype(np.float32)
        mu *= rng.standard_gamma((1 / self.phi).astype(np.float32), mu.shape, dtype=np.float32)
        return rng.poisson(mu * self.phi.astype(np.float32))


def simulate(n_cells: int = 5000, n_genes: int = 2000, seed: int = 0, strength: float = 1.0) -> Any:
    """Simulate a Perturb-seq experiment: AnnData with counts [N, G], as a file would give it.

    A fifth of the cells are controls; the others are shared equally by 12 knock-downs, 8 activations, 15
    pairs (five of each kind) and five doses of a stimulus. obs: cell_type (one in fifty missing),
    perturbation, dose (0 for controls, missing for genetic perturbations), batch. `Truth.of(adata)` gives
    the truth behind it.
    """
    truth = Truth.build(n_genes, seed, strength)
    rng = np.random.default_rng([seed, 13])
    arms = [(c, np.nan) for c in truth.conditions()] + [(STIMULUS, d) for d in DOSES]
    n_control = round(SHARE_OF_CONTROL * n_cells)
    order = rng.permutation(np.r_[np.full(n_control, -1), np.arange(n_cells - n_control) % len(arms)])
    chosen = [(CONTROL, 0.0) if i < 0 else arms[i] for i in order]
    obs = pd.DataFrame({
        keys.CELL_TYPE: rng.choice(TYPES, n_cells, p=TYPE_SHARE),
        keys.PERTURBATION: [c for c, _ in chosen], keys.DOSE: [d for _, d in chosen],
        keys.BATCH: rng.choice(BATCHES, n_cells)}, index=[f"cell_{i + 1:05d}" for i in range(n_cells)])
    counts = truth.sample(obs, rng)
    obs[keys.CELL_TYPE] = pd.Categorical(obs[keys.CELL_TYPE].where(rng.random(n_cells) >= 0.02))
    for column in (keys.PERTURBATION, keys.BATCH):
        obs[column] = pd.Categorical(obs[column])
    from anndata import AnnData

    adata = AnnData(sp.csr_matrix(counts, dtype=np.float32), obs=obs, var=pd.DataFrame(index=truth.genes))
    adata.uns[UNS] = json.dumps({"n_genes": n_genes, "seed": seed, "strength": strength})
    return adata


def _normal_quantiles(n: int) -> np.ndarray:
    from scipy.stats import norm

    return norm.ppf((np.arange(n) + 0.5) / n)


@lru_cache(maxsize=64)
def _poisson_log1p(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate E[log1p(scale · y)], y Poisson(mu), over a grid of log mu; far above 60, by its expansion."""
    from scipy.stats import poisson

    grid = np.linspace(np.log(1e-6), np.log(1e5), 400)
    mu = np.exp(grid)
    y = np.arange(140)
    exact = poisson.pmf(y[None, :], mu[mu <= 60, None]) @ np.log1p(scale * y)
    large = mu[mu > 60]
    expansion = np.log1p(scale * large) - 0.5 * large * scale**2 / (1 + scale * large) ** 2
    return grid, np.r_[exact, expansion]
