"""`twistcluster bench`: the same work on this cluster and on its peers, interleaved, as ratios."""
