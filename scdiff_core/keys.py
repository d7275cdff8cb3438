"""Every name that is written into a file, once: obs, obsm, layers and uns keys, roles, splits."""

# obs
TOTAL_COUNTS = "total_counts"  # over all genes of the source, not only the kept ones
N_GENES = "n_genes_by_counts"
PCT_MT = "pct_counts_mt"
DOUBLET_SCORE = "doublet_score"
SPLIT = "split"
TRAIN = "train"
TEST = "test"
SYNTHETIC = "synthetic"

# layers; X holds counts (or, without counts, the continuous values)
LOG1P = "log1p"

# obsm
PCA = "X_pca"
UMAP = "X_umap"

# varm, var
PCS = "PCs"
PCA_MEAN = "pca_mean"

# uns
SCDIFF = "scdiff"

# roles a column can play
CELL_TYPE = "cell_type"
BATCH = "batch"
PERTURBATION = "perturbation"
DOSE = "dose"
TIME = "time"
ROLES = (CELL_TYPE, BATCH, PERTURBATION, DOSE, TIME)

# what the values of a source are
COUNTS = "counts"
CONTINUOUS = "continuous"

# counts are scaled to this many a cell before log1p (scanpy's habit: `normalize_total(1e4)`)
TARGET_SUM = 1e4

# conditions of generated cells that are not a value
ANY = "any"  # the null of the covariate
AS_IN_DATA = "as in the data"  # drawn from the training cells' own frequencies
